package sluice.json;

import java.io.IOException;
import java.io.Serializable;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;

/** Reads one JSON value of a known type: from the value's first token, the parser's current one, to its last. */
@FunctionalInterface
interface ValueReader extends Serializable {
    /**
     * @return the value in Flink's internal format
     * @throws MalformedException the value has another type than the contract declares
     */
    Object read(JsonParser parser) throws IOException, MalformedException;
}
