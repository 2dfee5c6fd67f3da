package sluice.json;

import java.io.IOException;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.RowType;

/** Builds readers from Flink types: what a value must look like in JSON to be one of that type. */
final class ValueReaders {
    private final Set<String> scalarText;

    /** @param scalarText paths of the strings that also take numbers and booleans; `*` for values and elements */
    ValueReaders(Set<String> scalarText) {
        this.scalarText = scalarText;
    }

    /** A reader that takes null where the type does. */
    ValueReader of(LogicalType type, String path) {
        ValueReader reader = notNull(type, path);
        if (type.isNullable()) {
            return parser -> parser.currentToken() == JsonToken.VALUE_NULL ? null : reader.read(parser);
        }
        return reader;
    }

    /** The reader of a whole record. */
    RowReader row(RowType type, String path) {
        List<String> names = type.getFieldNames();
        List<ValueReader> readers = new ArrayList<>();
        boolean[] required = new boolean[names.size()];
        for (int index = 0; index < names.size(); index++) {
            LogicalType field = type.getTypeAt(index);
            readers.add(of(field, join(path, names.get(index))));
            required[index] = !field.isNullable();
        }
        return new RowReader(path, names.toArray(String[]::new), readers.toArray(ValueReader[]::new), required);
    }

    static String join(String path, String name) {
        return path.isEmpty() ? name : path + "." + name;
    }

    static MalformedException wrongType(String path, String expected, JsonToken found) {
        String where = path.isEmpty() ? "" : path + ": ";
        return new MalformedException("wrong type: " + where + "expected " + expected + ", got " + words(found));
    }

    private ValueReader notNull(LogicalType type, String path) {
        return switch (type.getTypeRoot()) {
            case VARCHAR, CHAR -> scalarText.contains(path) ? scalarText(path) : string(path);
            case BOOLEAN -> bool(path);
            case TINYINT -> parser -> (byte) whole(parser, path, Byte.MIN_VALUE, Byte.MAX_VALUE);
            case SMALLINT -> parser -> (short) whole(parser, path, Short.MIN_VALUE, Short.MAX_VALUE);
            case INTEGER -> parser -> (int) whole(parser, path, Integer.MIN_VALUE, Integer.MAX_VALUE);
            case BIGINT -> parser -> whole(parser, path, Long.MIN_VALUE, Long.MAX_VALUE);
            case FLOAT -> parser -> (float) number(parser, path);
            case DOUBLE -> parser -> number(parser, path);
            case DECIMAL -> decimal((DecimalType) type, path);
            case VARBINARY, BINARY -> bytes(path);
            case DATE -> text(path, "an ISO-8601 date", text -> (int) LocalDate.parse(text).toEpochDay());
            case TIME_WITHOUT_TIME_ZONE -> text(path, "an ISO-8601 time",
                    text -> (int) (LocalTime.parse(text).toNanoOfDay() / 1_000_000));
            case TIMESTAMP_WITHOUT_TIME_ZONE -> text(path, "an ISO-8601 date-time without a zone",
                    text -> TimestampData.fromLocalDateTime(LocalDateTime.parse(text)));
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE -> text(path, "an ISO-8601 date-time with its offset",
                    text -> TimestampData.fromInstant(instant(text)));
            case ARRAY -> array((ArrayType) type, path);
            case MAP -> map((MapType) type, path);
            case ROW -> row((RowType) type, path);
            default -> throw new ValidationException(path + ": strict-json can't read " + type.asSummaryString());
        };
    }

    private static ValueReader string(String path) {
        return parser -> {
            if (parser.currentToken() != JsonToken.VALUE_STRING) {
                throw wrongType(path, "string", parser.currentToken());
            }
            return StringData.fromString(parser.getText());
        };
    }

    private static ValueReader scalarText(String path) {
        return parser -> {
            if (!parser.currentToken().isScalarValue() || parser.currentToken() == JsonToken.VALUE_NULL) {
                throw wrongType(path, "string, number or boolean", parser.currentToken());
            }
            return StringData.fromString(parser.getText());
        };
    }

    private static ValueReader bool(String path) {
        return parser -> switch (parser.currentToken()) {
            case VALUE_TRUE -> Boolean.TRUE;
            case VALUE_FALSE -> Boolean.FALSE;
            default -> throw wrongType(path, "boolean", parser.currentToken());
        };
    }

    private static long whole(JsonParser parser, String path, long low, long high)
            throws IOException, MalformedException {
        if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
            throw wrongType(path, "integer", parser.currentToken());
        }
        long value;
        try {
            value = parser.getLongValue();
        } catch (JsonProcessingException error) {
            throw new MalformedException("wrong type: " + path + ": out of range: " + parser.getText());
        }
        if (value < low || value > high) {
            throw new MalformedException("wrong type: " + path + ": out of range: " + value);
        }
        return value;
    }

    private static double number(JsonParser parser, String path) throws IOException, MalformedException {
        if (!parser.currentToken().isNumeric()) {
            throw wrongType(path, "number", parser.currentToken());
        }
        double value = parser.getDoubleValue();
        if (Double.isInfinite(value)) {
            throw new MalformedException("wrong type: " + path + ": out of range: " + parser.getText());
        }
        return value;
    }

    private static ValueReader decimal(DecimalType type, String path) {
        return parser -> {
            if (!parser.currentToken().isNumeric()) {
                throw wrongType(path, "number", parser.currentToken());
            }
            DecimalData value =
                    DecimalData.fromBigDecimal(parser.getDecimalValue(), type.getPrecision(), type.getScale());
            if (value == null) {
                throw new MalformedException("wrong type: " + path + ": out of range: " + parser.getText());
            }
            return value;
        };
    }

    private static ValueReader bytes(String path) {
        return parser -> {
            if (parser.currentToken() != JsonToken.VALUE_STRING) {
                throw wrongType(path, "base64 string", parser.currentToken());
            }
            try {
                return parser.getBinaryValue();
            } catch (JsonProcessingException error) {
                throw new MalformedException("wrong type: " + path + ": expected base64 string");
            }
        };
    }

    @FunctionalInterface
    private interface TextParser extends java.io.Serializable {
        Object parse(String text);
    }

    private static ValueReader text(String path, String expected, TextParser parse) {
        return parser -> {
            if (parser.currentToken() != JsonToken.VALUE_STRING) {
                throw wrongType(path, expected, parser.currentToken());
            }
            try {
                return parse.parse(parser.getText());
            } catch (DateTimeException error) {
                throw new MalformedException("wrong type: " + path + ": expected " + expected);
            }
        };
    }

    private static Instant instant(String text) {
        return text.endsWith("Z") ? Instant.parse(text) : OffsetDateTime.parse(text).toInstant();
    }

    private ValueReader array(ArrayType type, String path) {
        ValueReader element = of(type.getElementType(), path + ".*");
        return parser -> {
            if (parser.currentToken() != JsonToken.START_ARRAY) {
                throw wrongType(path, "array", parser.currentToken());
            }
            List<Object> values = new ArrayList<>();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                values.add(element.read(parser));
            }
            return new GenericArrayData(values.toArray());
        };
    }

    private ValueReader map(MapType type, String path) {
        if (type.getKeyType().getTypeRoot() != LogicalTypeRoot.VARCHAR) {
            throw new ValidationException(path + ": JSON has no map keys but strings");
        }
        ValueReader value = of(type.getValueType(), path + ".*");
        return parser -> {
            if (parser.currentToken() != JsonToken.START_OBJECT) {
                throw wrongType(path, "object", parser.currentToken());
            }
            Map<Object, Object> values = new HashMap<>();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                StringData key = StringData.fromString(parser.currentName());
                parser.nextToken();
                values.put(key, value.read(parser));
            }
            return new GenericMapData(values);
        };
    }

    private static String words(JsonToken token) {
        return switch (token) {
            case START_OBJECT -> "object";
            case START_ARRAY -> "array";
            case VALUE_STRING -> "string";
            case VALUE_NUMBER_INT -> "integer";
            case VALUE_NUMBER_FLOAT -> "number";
            case VALUE_TRUE, VALUE_FALSE -> "boolean";
            case VALUE_NULL -> "null";
            default -> token.name();
        };
    }
}
