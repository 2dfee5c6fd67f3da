package sluice.json;

import java.io.Serializable;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** Builds the rows of a source that reports malformed records: a record's bytes, the reason, fields if it is valid. */
final class Report implements Serializable {
    private static final long serialVersionUID = 1L;

    /** By column of the row: the index of the record's field, or one of these constants. */
    static final int REASON = -1;

    static final int VALUE = -2;

    private final int[] columns;

    Report(int[] columns) {
        this.columns = columns;
    }

    /**
     * @param record the parsed record; null for a malformed one
     * @param reason why it is malformed; null for a valid record
     * @param message the record's bytes
     */
    RowData row(GenericRowData record, String reason, byte[] message) {
        GenericRowData row = new GenericRowData(columns.length);
        for (int index = 0; index < columns.length; index++) {
            Object value =
                    switch (columns[index]) {
                        case REASON -> reason == null ? null : StringData.fromString(reason);
                        case VALUE -> message;
                        default -> record == null ? null : record.getField(columns[index]);
                    };
            row.setField(index, value);
        }
        return row;
    }
}
