package sluice.json;

import java.io.IOException;
import java.io.Serializable;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;

/** Reads one JSON value of a known type; the parser stands on the value's first token, and is left on its last. */
@FunctionalInterface
interface ValueReader extends Serializable {
    /**
     * @return the value in Flink's internal format
     * @throws MalformedException the value has another type than the contract says
     */
    Object read(JsonParser parser) throws IOException, MalformedException;
}
