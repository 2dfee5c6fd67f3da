package sluice.json;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;

/**
 * The format `strict-json`: JSON that is validated against a contract. A record that breaks it in any declared field
 * (even one that the query doesn't use) is malformed, so that all jobs on a topic agree on which records are malformed.
 *
 * <p>Without `reason-column` the table's columns are the contract and malformed records are dropped; with it, every
 * record gives a row with its bytes, the reason (null: not malformed), and the requested fields (null if malformed).
 */
public final class StrictJsonFormatFactory implements DeserializationFormatFactory {
    static final ConfigOption<String> SCHEMA =
            ConfigOptions.key("schema").stringType().noDefaultValue().withDescription("The contract, as a ROW type.");
    static final ConfigOption<List<String>> ANY_SCALAR_AS_TEXT = ConfigOptions.key("any-scalar-as-text")
            .stringType()
            .asList()
            .defaultValues()
            .withDescription("Paths of strings that also accept numbers and booleans; `*` for a map's values.");
    static final ConfigOption<Integer> MAX_BYTES = ConfigOptions.key("max-bytes")
            .intType()
            .defaultValue(262_144)
            .withDescription("The longest record that is not malformed.");
    static final ConfigOption<String> REASON_COLUMN =
            ConfigOptions.key("reason-column").stringType().noDefaultValue().withDescription("Report the reason here.");
    static final ConfigOption<String> VALUE_COLUMN =
            ConfigOptions.key("value-column").stringType().noDefaultValue().withDescription("Report the bytes here.");

    @Override
    public String factoryIdentifier() {
        return "strict-json";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(SCHEMA);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(ANY_SCALAR_AS_TEXT, MAX_BYTES, REASON_COLUMN, VALUE_COLUMN);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        LogicalType contract =
                LogicalTypeParser.parse(options.get(SCHEMA), context.getClassLoader());
        if (!(contract instanceof RowType)) {
            throw new ValidationException("strict-json.schema: expected a ROW type, got " + contract);
        }
        return new Format((RowType) contract, options);
    }

    private record Format(RowType contract, ReadableConfig options)
            implements DecodingFormat<DeserializationSchema<RowData>> {
        @Override
        public DeserializationSchema<RowData> createRuntimeDecoder(
                DynamicTableSource.Context context, DataType physical) {
            RowType columns = (RowType) physical.getLogicalType();
            TypeInformation<RowData> produced = context.createTypeInformation(physical);
            RowReader reader =
                    new ValueReaders(new HashSet<>(options.get(ANY_SCALAR_AS_TEXT))).row(contract, "");
            return new StrictJsonDeserializer(produced, reader, options.get(MAX_BYTES), report(columns));
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        private Report report(RowType columns) {
            if (options.getOptional(REASON_COLUMN).isEmpty()) {
                if (!columns.getFields().equals(contract.getFields())) {
                    throw new ValidationException(
                            "strict-json.schema: expected the table's columns " + columns + ", got " + contract);
                }
                return null;
            }
            int[] sources = new int[columns.getFieldCount()];
            for (int index = 0; index < sources.length; index++) {
                sources[index] = source(columns.getFieldNames().get(index));
            }
            return new Report(sources);
        }

        private int source(String column) {
            if (column.equals(options.get(REASON_COLUMN))) {
                return Report.REASON;
            }
            if (column.equals(options.get(VALUE_COLUMN))) {
                return Report.VALUE;
            }
            int field = contract.getFieldIndex(column);
            if (field < 0) {
                throw new ValidationException("strict-json: the contract has no field " + column);
            }
            return field;
        }
    }
}
