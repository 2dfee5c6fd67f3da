package sluice.json;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Random;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The format, value by value: the right one, or the reason for which the record is malformed. */
class StrictJsonTest {
    private static final String EVENT = "ROW<event ROW<id STRING NOT NULL, type STRING NOT NULL> NOT NULL, "
            + "properties MAP<STRING, STRING> NOT NULL, tags ARRAY<INT>, load DOUBLE, small FLOAT, flag BOOLEAN, "
            + "price DECIMAL(12, 2), `raw` BYTES, `day` DATE, clock TIME(0), `local` TIMESTAMP(3), moment TIMESTAMP_LTZ(3), "
            + "number BIGINT NOT NULL, tiny TINYINT>";
    private static final String VALID = "{\"event\":{\"id\":\"été\",\"type\":\"page_view\",\"more\":[1,{\"a\":null}]},"
            + "\"properties\":{\"a\":\"x\",\"b\":2.50,\"c\":true},\"tags\":[1,2,null],\"load\":1.5e3,\"small\":1e-3,"
            + "\"flag\":false,\"price\":-12.50,\"raw\":\"AAEC\",\"day\":\"2026-02-28\",\"clock\":\"23:59:59\","
            + "\"local\":\"2026-02-28T01:02:03.004\",\"moment\":\"2026-02-28T01:02:03.004+02:00\","
            + "\"number\":1767225600000,\"tiny\":-128}";

    private static StrictJsonDeserializer format(String schema) throws Exception {
        RowType contract = (RowType) LogicalTypeParser.parse(schema, StrictJsonTest.class.getClassLoader());
        int fields = contract.getFieldCount();
        int[] columns = new int[fields + 1];
        for (int index = 0; index < fields; index++) {
            columns[index] = index;
        }
        columns[fields] = Report.REASON;
        RowReader reader = new ValueReaders(Set.of("properties.*")).row(contract, "");
        StrictJsonDeserializer format = new StrictJsonDeserializer(null, reader, 10_000, new Report(columns));
        format.open(new DeserializationSchema.InitializationContext() {
            @Override
            public MetricGroup getMetricGroup() {
                return new UnregisteredMetricsGroup();
            }

            @Override
            public UserCodeClassLoader getUserCodeClassLoader() {
                return SimpleUserCodeClassLoader.create(StrictJsonTest.class.getClassLoader());
            }
        });
        return format;
    }

    private static RowData read(String type, String value) throws Exception {
        byte[] message = ("{\"v\":" + value + "}").getBytes(StandardCharsets.UTF_8);
        StrictJsonDeserializer format = format("ROW<v " + type + ">");
        return assertTimeoutPreemptively(Duration.ofSeconds(5), () -> format.deserialize(message));
    }

    private static String reason(RowData row) {
        return row.isNullAt(row.getArity() - 1) ? null : row.getString(row.getArity() - 1).toString();
    }

    @ParameterizedTest
    @CsvSource({
        "'DECIMAL(12, 2)', 1.23, 1.23",
        "'DECIMAL(12, 2)', 1.230, 1.23",
        "'DECIMAL(12, 2)', -9999999999.99, -9999999999.99",
        "'DECIMAL(12, 2)', 1E+3, 1000.00",
        "'DECIMAL(12, 2)', 7, 7.00",
        "'DECIMAL(12, 2)', 0E+1000000000, 0.00",
        "'DECIMAL(12, 2)', 0.000, 0.00",
        "'DECIMAL(2, 2)', 0.05, 0.05",
        "'DECIMAL(38, 0)', 1E+37, 10000000000000000000000000000000000000",
    })
    void decimalsAreTakenAsTheyStand(String type, String value, BigDecimal expected) throws Exception {
        RowData row = read(type, value);
        assertEquals(null, reason(row));
        assertEquals(expected, row.getDecimal(0, expected.precision() + 1, expected.scale()).toBigDecimal());
    }

    @ParameterizedTest
    @CsvSource({
        "'DECIMAL(12, 2)', 1.239, 'wrong type: v: more than 2 decimal places: 1.239'",
        "'DECIMAL(12, 2)', 1E-1000000000, 'wrong type: v: more than 2 decimal places: 1E-1000000000'",
        "'DECIMAL(12, 2)', 10000000000, 'wrong type: v: out of range: 10000000000'",
        "'DECIMAL(12, 2)', 1E+1000000000, 'wrong type: v: out of range: 1E+1000000000'",
        "'DECIMAL(12, 2)', -1E+2147483647, 'wrong type: v: out of range: -1E+2147483647'",
        "'DECIMAL(2, 2)', 1, 'wrong type: v: out of range: 1'",
        "FLOAT, 1e300, 'wrong type: v: out of range: 1e300'",
        "DOUBLE, 1e400, 'wrong type: v: out of range: 1e400'",
        "DATE, '\"+5881580-07-12\"', 'wrong type: v: expected an ISO-8601 date'",
        "DATE, '\"+999999999-12-31\"', 'wrong type: v: expected an ISO-8601 date'",
        "DATE, '\"-0001-12-31\"', 'wrong type: v: expected an ISO-8601 date'",
        "TIMESTAMP(3), '\"+292278995-01-01T00:00:00\"', 'wrong type: v: expected an ISO-8601 date-time without a zone'",
        "TIMESTAMP_LTZ(3), '\"+292278995-01-01T00:00:00Z\"', "
                + "'wrong type: v: expected an ISO-8601 date-time with its offset'",
        "TIMESTAMP_LTZ(3), '\"+999999999-12-31T23:59:59-18:00\"', "
                + "'wrong type: v: expected an ISO-8601 date-time with its offset'",
        "TIMESTAMP_LTZ(3), '\"+1000000000-12-31T23:59:59.999999999Z\"', "
                + "'wrong type: v: expected an ISO-8601 date-time with its offset'",
    })
    void whatATypeCannotHoldIsMalformed(String type, String value, String expected) throws Exception {
        assertEquals(expected, reason(read(type, value)));
    }

    @ParameterizedTest
    @CsvSource({"1E+2147483648", "1E-2147483648", "1E+99999999999", "-1E-99999999999"})
    void anExponentThatNoNumberOfJavaHasIsMalformed(String value) throws Exception {
        assertEquals("wrong type: v: out of range: " + value, reason(read("DECIMAL(12, 2)", value)));
    }

    @Test
    void theFirstAndTheLastDayAreTaken() throws Exception {
        assertEquals(2_932_896, read("DATE", "\"9999-12-31\"").getInt(0));
        assertEquals(-719_528, read("DATE", "\"0000-01-01\"").getInt(0));
        RowData moment = read("TIMESTAMP_LTZ(3)", "\"2026-02-28T01:02:03.004+02:00\"");
        assertEquals(1_772_233_323_004L, moment.getTimestamp(0, 3).getMillisecond());
    }

    @Test
    void aReasonShowsNoMoreOfAValueThanItNeeds() throws Exception {
        String reason = reason(read("BIGINT", "9".repeat(900)));
        assertEquals("wrong type: v: out of range: " + "9".repeat(100) + "...", reason);
    }

    @Test
    void aDamagedRecordIsARowOrMalformedAndNothingElse() throws Exception {
        StrictJsonDeserializer format = format(EVENT);
        byte[] valid = VALID.getBytes(StandardCharsets.UTF_8);
        assertEquals(null, reason(format.deserialize(valid)));
        Random random = new Random(20_261_124);
        int malformed = 0;
        for (int round = 0; round < 100_000; round++) {
            byte[] damaged = damage(valid, random);
            // Any exception fails the test.
            malformed += reason(format.deserialize(damaged)) == null ? 0 : 1;
        }
        assertEquals(true, malformed > 50_000 && malformed < 100_000, "malformed: " + malformed);
        assertArrayEquals(VALID.getBytes(StandardCharsets.UTF_8), valid);
    }

    private static final String[] FRAGMENTS = {
        "null", "true", "-", "1E+1000000000", "1e400", "-0", "9223372036854775808", "{", "}", "[", "]", "\"", ",", ":",
        "\\u0000", "\\ud800", "\"+999999999-12-31\"", "\"\"", "1.239", "NaN", "\n", "/*", "\u00e9",
    };

    /** One to three changes: a byte changed, bytes removed or doubled, or a fragment put in. */
    private static byte[] damage(byte[] valid, Random random) {
        byte[] bytes = valid;
        for (int change = random.nextInt(3); change >= 0; change--) {
            int at = random.nextInt(bytes.length);
            int until = Math.min(bytes.length, at + random.nextInt(12));
            bytes = switch (random.nextInt(4)) {
                case 0 -> replace(bytes, at, at + 1, new byte[] {(byte) random.nextInt(256)});
                case 1 -> replace(bytes, at, until, new byte[0]);
                case 2 -> replace(bytes, at, at, java.util.Arrays.copyOfRange(bytes, at, until));
                default -> replace(bytes, at, until,
                        FRAGMENTS[random.nextInt(FRAGMENTS.length)].getBytes(StandardCharsets.UTF_8));
            };
            if (bytes.length == 0) {
                return bytes;
            }
        }
        return bytes;
    }

    private static byte[] replace(byte[] bytes, int from, int until, byte[] by) {
        byte[] result = new byte[bytes.length - (until - from) + by.length];
        System.arraycopy(bytes, 0, result, 0, from);
        System.arraycopy(by, 0, result, from, by.length);
        System.arraycopy(bytes, until, result, from + by.length, bytes.length - until);
        return result;
    }
}
