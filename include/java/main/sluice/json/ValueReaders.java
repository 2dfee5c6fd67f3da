package sluice.json;

import java.io.IOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoField;
import java.time.temporal.TemporalAccessor;
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

/** Builds the readers for Flink types, which define the JSON values that each type accepts. */
final class ValueReaders {
    private static final int SHOWN = 100;

    private final Set<String> scalarText;

    /** @param scalarText paths of the strings that also accept numbers and booleans; `*` for values and elements */
    ValueReaders(Set<String> scalarText) {
        this.scalarText = scalarText;
    }

    /** A reader that accepts null if the type is nullable. */
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

    private static MalformedException outOfRange(String path, JsonParser parser) throws IOException {
        return new MalformedException("wrong type: " + path + ": out of range: " + beginning(parser));
    }

    /** The beginning of the value's text, for a reason. */
    private static String beginning(JsonParser parser) throws IOException {
        String text = parser.getText();
        return text.length() <= SHOWN ? text : text.substring(0, SHOWN) + "...";
    }

    private ValueReader notNull(LogicalType type, String path) {
        return switch (type.getTypeRoot()) {
            case VARCHAR, CHAR -> scalarText.contains(path) ? scalarText(path) : string(path);
            case BOOLEAN -> bool(path);
            case TINYINT -> parser -> (byte) whole(parser, path, Byte.MIN_VALUE, Byte.MAX_VALUE);
            case SMALLINT -> parser -> (short) whole(parser, path, Short.MIN_VALUE, Short.MAX_VALUE);
            case INTEGER -> parser -> (int) whole(parser, path, Integer.MIN_VALUE, Integer.MAX_VALUE);
            case BIGINT -> parser -> whole(parser, path, Long.MIN_VALUE, Long.MAX_VALUE);
            case FLOAT -> parser -> (float) number(parser, path, Float.MAX_VALUE);
            case DOUBLE -> parser -> number(parser, path, Double.MAX_VALUE);
            case DECIMAL -> decimal((DecimalType) type, path);
            case VARBINARY, BINARY -> bytes(path);
            case DATE -> text(path, "an ISO-8601 date", text -> (int) inRange(LocalDate.parse(text)).toEpochDay());
            case TIME_WITHOUT_TIME_ZONE -> text(path, "an ISO-8601 time",
                    text -> (int) (LocalTime.parse(text).toNanoOfDay() / 1_000_000));
            case TIMESTAMP_WITHOUT_TIME_ZONE -> text(path, "an ISO-8601 date-time without a zone",
                    text -> TimestampData.fromLocalDateTime(inRange(LocalDateTime.parse(text))));
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE -> text(path, "an ISO-8601 date-time with its offset",
                    text -> TimestampData.fromLocalDateTime(inRange(utc(text))));
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
            throw outOfRange(path, parser);
        }
        if (value < low || value > high) {
            throw outOfRange(path, parser);
        }
        return value;
    }

    private static double number(JsonParser parser, String path, double high)
            throws IOException, MalformedException {
        if (!parser.currentToken().isNumeric()) {
            throw wrongType(path, "number", parser.currentToken());
        }
        double value = parser.getDoubleValue();
        if (Math.abs(value) > high) {
            throw outOfRange(path, parser);
        }
        return value;
    }

    private static ValueReader decimal(DecimalType type, String path) {
        int whole = type.getPrecision() - type.getScale();
        return parser -> {
            if (!parser.currentToken().isNumeric()) {
                throw wrongType(path, "number", parser.currentToken());
            }
            BigDecimal value;
            try {
                value = parser.getDecimalValue();
            } catch (NumberFormatException error) {
                // The exponent is out of BigDecimal's range.
                throw outOfRange(path, parser);
            }
            // Checked before scaling, which would write out 1E+1000000000. In long, since the scale may be the smallest int.
            if (value.signum() != 0 && (long) value.precision() - value.scale() > whole) {
                throw outOfRange(path, parser);
            }
            if (value.signum() == 0) {
                value = BigDecimal.ZERO;
            } else if (value.stripTrailingZeros().scale() > type.getScale()) {
                throw new MalformedException("wrong type: " + path + ": more than " + type.getScale()
                        + " decimal places: " + beginning(parser));
            }
            return DecimalData.fromBigDecimal(
                    value.setScale(type.getScale(), RoundingMode.UNNECESSARY), type.getPrecision(), type.getScale());
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
            } catch (DateTimeException | ArithmeticException error) {
                throw new MalformedException("wrong type: " + path + ": expected " + expected);
            }
        };
    }

    private static LocalDateTime utc(String text) {
        Instant instant = text.endsWith("Z") ? Instant.parse(text) : OffsetDateTime.parse(text).toInstant();
        return LocalDateTime.ofInstant(instant, ZoneOffset.UTC);
    }

    /** SQL has the years 0 to 9999; Java's parsers accept years that overflow Flink's days and milliseconds. */
    private static <T extends TemporalAccessor> T inRange(T moment) {
        int year = moment.get(ChronoField.YEAR);
        if (year < 0 || year > 9999) {
            throw new DateTimeException("year " + year);
        }
        return moment;
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
