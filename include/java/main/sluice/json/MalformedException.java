package sluice.json;

/** A record breaks its contract. The message is the reason that goes to the dead letters: `<kind>: <details>`. */
final class MalformedException extends Exception {
    MalformedException(String reason) {
        // No stack: these are thrown per record.
        super(reason, null, false, false);
    }
}
