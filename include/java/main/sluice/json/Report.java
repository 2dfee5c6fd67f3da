package sluice.json;

import java.io.Serializable;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** Rows of a source that tells of every record whether it is malformed: its bytes, the reason, fields of the good ones. */
final class Report implements Serializable {
    private static final long serialVersionUID = 1L;

    /** Per column of the row: the field of the record, or one of these. */
    static final int REASON = -1;

    static final int VALUE = -2;

    private final int[] columns;

    Report(int[] columns) {
        this.columns = columns;
    }

    /**
     * @param record the parsed record; null for a malformed one
     * @param reason why it is malformed; null for a good one
     * @param message its bytes
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
