"""Pipelines that execute or write something themselves, as public scripts do."""

EXECUTES = '''
def attempt(call):
    """Scripts catch what their executions raise."""
    try:
        call()
    except Exception as error:
        print("caught", type(error).__name__)

@job.pipeline
def build(lines, t_env, env):
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import EnvironmentSettings, TableEnvironment
    from pyflink.table.expressions import col
    out = lines.select(col("id"))
    t_env.execute_sql("""CREATE TABLE side (id STRING) WITH ('connector' = 'kafka', 'topic' = 'eager_side',
        'properties.bootstrap.servers' = '<servers>', 'format' = 'json')""")
    statements = t_env.create_statement_set().add_insert("side", out)
    attempt(lambda: t_env.execute_sql("INSERT INTO side SELECT id FROM lines").wait())
    attempt(lambda: out.execute_insert("side").wait())
    attempt(lambda: statements.execute())
    attempt(lambda: out.limit(1).execute().print())
    attempt(lambda: out.limit(1).to_pandas())
    attempt(lambda: next(t_env.to_data_stream(out).execute_and_collect()))
    attempt(lambda: t_env.execute_sql("CREATE TABLE copied WITH ('connector' = 'print') AS SELECT id FROM lines"))
    numbers = StreamExecutionEnvironment.get_execution_environment().from_collection([1])
    attempt(lambda: next(numbers.execute_and_collect()))
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    attempt(lambda: tables.from_elements([(1,)], ["a"]).execute().print())
    t_env.to_data_stream(out)._j_data_stream.print()
    attempt(lambda: env.execute("mine"))
    return out
'''

INSERTS = '''
@job.pipeline
def build(lines, t_env):
    from pyflink.table.expressions import col
    out = lines.select(col("id"))
    t_env.execute_sql("""CREATE TABLE side (id STRING) WITH ('connector' = 'kafka', 'topic' = 'eager_side',
        'properties.bootstrap.servers' = '<servers>', 'format' = 'json')""")
    t_env.execute_sql("INSERT INTO side SELECT id FROM lines")
    return out
'''

EXTRA = """
@job.pipeline
def build(lines, t_env):
    from pyflink.common import Types
    from pyflink.common.serialization import SimpleStringSchema
    from pyflink.datastream.connectors.kafka import KafkaRecordSerializationSchema, KafkaSink
    from pyflink.table.expressions import col
    out = lines.select(col("id"))
    stream = t_env.to_data_stream(out)
    t_env.execute_sql("CREATE TABLE side (id STRING) WITH ('connector' = 'print')")
    statements = t_env.create_statement_set()
    schema = KafkaRecordSerializationSchema.builder().set_topic("extra_side")
    schema = schema.set_value_serialization_schema(SimpleStringSchema()).build()
    sink = KafkaSink.builder().set_bootstrap_servers("<servers>").set_record_serializer(schema).build()
    <extra>
    return out
"""
