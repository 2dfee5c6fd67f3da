package sluice.json;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.FunctionContext;
import org.junit.jupiter.api.Test;

/** The counters of records that a read leaves out for their event time. */
class EventTimeCounterTest {
    private static final long ARRIVAL = 1_000_000;

    private final Map<String, Counter> counters = new HashMap<>();
    private final MetricGroup group = new UnregisteredMetricsGroup() {
        @Override
        public Counter counter(String name) {
            Counter counter = super.counter(name);
            counters.put(name, counter);
            return counter;
        }
    };

    private EventTimeCounter counter() {
        EventTimeCounter counter = new EventTimeCounter();
        counter.open(new FunctionContext(null, null, null) {
            @Override
            public MetricGroup getMetricGroup() {
                return group;
            }
        });
        return counter;
    }

    private void read(EventTimeCounter counter, Long eventTime) {
        TimestampData watermark = TimestampData.fromEpochMillis(7);
        TimestampData at = eventTime == null ? null : TimestampData.fromEpochMillis(eventTime);
        assertSame(watermark, counter.eval(watermark, at, TimestampData.fromEpochMillis(ARRIVAL), 10, 20));
    }

    private long count(String name) {
        return counters.get(name).getCount();
    }

    @Test
    void countsEachCauseAndReturnsTheWatermark() {
        EventTimeCounter counter = counter();
        for (long after : new long[] {-11, -10, 0, 20, 21, 22}) {
            read(counter, ARRIVAL + after);
        }
        read(counter, null);
        assertEquals(1, count(EventTimeCounter.OLD));
        assertEquals(2, count(EventTimeCounter.AHEAD));
        assertEquals(1, count(EventTimeCounter.TIMELESS));
    }

    @Test
    void countersOfAllPartitionsOfASourceAreTheSame() {
        read(counter(), ARRIVAL - 11);
        read(counter(), ARRIVAL - 11);
        assertEquals(2, count(EventTimeCounter.OLD));
    }
}
