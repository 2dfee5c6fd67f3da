package sluice.json;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.GenericRowData;

/** Reads a JSON object into a row. Unknown fields are skipped; of a duplicate field the last value is used. */
final class RowReader implements ValueReader {
    private final String path;
    private final String[] names;
    private final ValueReader[] readers;
    private final boolean[] required;
    private final Map<String, Integer> positions = new HashMap<>();

    RowReader(String path, String[] names, ValueReader[] readers, boolean[] required) {
        this.path = path;
        this.names = names;
        this.readers = readers;
        this.required = required;
        for (int index = 0; index < names.length; index++) {
            positions.put(names[index], index);
        }
    }

    @Override
    public GenericRowData read(JsonParser parser) throws IOException, MalformedException {
        if (parser.currentToken() != JsonToken.START_OBJECT) {
            throw ValueReaders.wrongType(path, "object", parser.currentToken());
        }
        GenericRowData row = new GenericRowData(names.length);
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            Integer position = positions.get(parser.currentName());
            parser.nextToken();
            if (position == null) {
                parser.skipChildren();
            } else {
                row.setField(position, readers[position].read(parser));
            }
        }
        for (int index = 0; index < names.length; index++) {
            // For a required field null is a wrong type, so that null here means that the field is missing.
            if (required[index] && row.getField(index) == null) {
                throw new MalformedException("missing field: " + ValueReaders.join(path, names[index]));
            }
        }
        return row;
    }
}
