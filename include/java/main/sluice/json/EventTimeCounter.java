package sluice.json;

import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * Returns the watermark of a record unchanged, and counts the records that the read's view drops for their event time.
 *
 * <p>It is part of the read's WATERMARK expression, which Flink's source evaluates exactly once for each record, before
 * any filter of the job. The counters are in the source's metric group.
 */
public final class EventTimeCounter extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    /** Records whose event time is too long before the arrival. */
    static final String OLD = "recordsDroppedAsOld";

    /** Records whose event time is too long after the arrival. */
    static final String AHEAD = "recordsDroppedAsAhead";

    /** Records without an event time. */
    static final String TIMELESS = "recordsDroppedWithoutEventTime";

    /**
     * A source creates a watermark generator, and so an instance of this function, for each partition, but a metric
     * group registers a name only once. So all instances of a source share its counters.
     */
    private static final Map<MetricGroup, Counts> SHARED = Collections.synchronizedMap(new WeakHashMap<>());

    private transient Counts counts;

    private record Counts(Counter old, Counter ahead, Counter timeless) {
        static Counts in(MetricGroup group) {
            return new Counts(group.counter(OLD), group.counter(AHEAD), group.counter(TIMELESS));
        }
    }

    @Override
    public void open(FunctionContext context) {
        counts = SHARED.computeIfAbsent(context.getMetricGroup(), Counts::in);
    }

    /**
     * @param watermark the record's watermark
     * @param eventTime the record's event time; null: it has none
     * @param arrival the Kafka timestamp
     * @param past how long before the arrival the event time may be, milliseconds
     * @param future how long after the arrival the event time may be, milliseconds
     */
    @DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class)
    public TimestampData eval(
            @DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class) TimestampData watermark,
            @DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class) TimestampData eventTime,
            @DataTypeHint(value = "TIMESTAMP_LTZ(3)", bridgedTo = TimestampData.class) TimestampData arrival,
            @DataTypeHint("BIGINT NOT NULL") long past,
            @DataTypeHint("BIGINT NOT NULL") long future) {
        if (eventTime == null) {
            counts.timeless.inc();
        } else {
            long after = eventTime.getMillisecond() - arrival.getMillisecond();
            if (after < -past) {
                counts.old.inc();
            } else if (after > future) {
                counts.ahead.inc();
            }
        }
        return watermark;
    }
}
