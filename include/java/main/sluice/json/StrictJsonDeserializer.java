package sluice.json;

import java.io.IOException;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.exc.StreamConstraintsException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/**
 * Converts a record's bytes to a row, or finds the reason why the record is malformed. Malformed records are counted
 * and, depending on the {@link Report}, dropped or reported as rows.
 */
final class StrictJsonDeserializer implements DeserializationSchema<RowData> {
    private static final long serialVersionUID = 1L;

    /** The counters of all records, and of malformed records that are dropped, in the source's metric group. */
    static final String RECORDS = "records";

    static final String MALFORMED = "malformedRecords";

    /** The counter of malformed records that are reported as rows, in a job that reads malformed records. */
    static final String REPORTED = "reportedMalformedRecords";

    /** Reasons of the first and the last malformed record since the task started; empty: there was none. */
    static final String FIRST_REASON = "firstMalformedReason";

    static final String LAST_REASON = "lastMalformedReason";

    /** Maximum length of a reason: it is shown in one line. */
    private static final int REASON_LENGTH = 200;

    private final TypeInformation<RowData> produced;
    private final RowReader reader;
    private final int maxBytes;
    private final Report report;

    private transient JsonFactory factory;
    private transient Counter records;
    private transient Counter malformed;
    // Written by the task's thread, read by the metrics thread.
    private transient volatile String firstReason;
    private transient volatile String lastReason;

    StrictJsonDeserializer(TypeInformation<RowData> produced, RowReader reader, int maxBytes, Report report) {
        this.produced = produced;
        this.reader = reader;
        this.maxBytes = maxBytes;
        this.report = report;
    }

    @Override
    public void open(InitializationContext context) {
        factory = new JsonFactory();
        MetricGroup group = context.getMetricGroup();
        records = group.counter(RECORDS);
        malformed = group.counter(report == null ? MALFORMED : REPORTED);
        firstReason = "";
        lastReason = "";
        group.gauge(FIRST_REASON, (Gauge<String>) () -> shown(firstReason));
        group.gauge(LAST_REASON, (Gauge<String>) () -> shown(lastReason));
    }

    private static String shown(String reason) {
        return reason.length() > REASON_LENGTH ? reason.substring(0, REASON_LENGTH) + "..." : reason;
    }

    @Override
    public void deserialize(byte[] message, Collector<RowData> out) throws IOException {
        RowData row = deserialize(message);
        if (row != null) {
            out.collect(row);
        }
    }

    @Override
    public RowData deserialize(byte[] message) throws IOException {
        records.inc();
        try {
            GenericRowData row = parse(message);
            return report == null ? row : report.row(row, null, message);
        } catch (MalformedException error) {
            malformed.inc();
            lastReason = error.getMessage();
            if (firstReason.isEmpty()) {
                firstReason = lastReason;
            }
            return report == null ? null : report.row(null, error.getMessage(), message);
        }
    }

    private GenericRowData parse(byte[] message) throws IOException, MalformedException {
        if (message == null || message.length == 0) {
            throw new MalformedException("empty");
        }
        if (message.length > maxBytes) {
            throw new MalformedException("too long: " + message.length + " bytes, the limit is " + maxBytes);
        }
        if (!Utf8.isValid(message)) {
            throw new MalformedException("not UTF-8");
        }
        try (JsonParser parser = factory.createParser(message)) {
            JsonToken first = parser.nextToken();
            if (first == null) {
                throw new MalformedException("empty");
            }
            if (first != JsonToken.START_OBJECT) {
                parser.skipChildren(); // invalid JSON is reported before a wrong type
                if (parser.nextToken() != null) {
                    throw new MalformedException("not JSON: more than one value");
                }
                throw new MalformedException("not an object");
            }
            GenericRowData row = reader.read(parser);
            if (parser.nextToken() != null) {
                throw new MalformedException("not JSON: more than one value");
            }
            return row;
        } catch (StreamConstraintsException error) {
            throw new MalformedException("not JSON: " + error.getOriginalMessage());
        } catch (JsonProcessingException error) {
            throw new MalformedException("not JSON: at byte " + error.getLocation().getByteOffset());
        }
    }

    @Override
    public boolean isEndOfStream(RowData nextElement) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }
}
