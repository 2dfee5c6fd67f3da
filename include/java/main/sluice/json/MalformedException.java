package sluice.json;

/** A record breaks its contract. The message is the reason that dead letters carry: `<kind>: <details>`. */
final class MalformedException extends Exception {
    MalformedException(String reason) {
        // Without a stack trace, for speed: it may be thrown for every record.
        super(reason, null, false, false);
    }
}
