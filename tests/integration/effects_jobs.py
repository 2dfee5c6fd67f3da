"""Pipelines that execute or write something themselves, as public scripts do."""

SIDE = '''
    t_env.execute_sql("""CREATE TABLE side (id STRING) WITH ('connector' = 'kafka', 'topic' = '<name>_side',
        'properties.bootstrap.servers' = '<servers>', 'format' = 'json')""")
'''

EXECUTES = f'''
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
    {SIDE}
    statements = t_env.create_statement_set().add_insert("side", out)
    t_env.execute_sql("INSERT INTO side SELECT id FROM lines").wait()
    attempt(lambda: out.execute_insert("side").wait())
    attempt(lambda: statements.execute())
    attempt(lambda: out.insert_into("side").execute())
    attempt(lambda: out.limit(1).execute().print())
    attempt(lambda: t_env.execute_sql("SELECT id FROM lines").print())
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

ONE = f"""
@job.pipeline
def build(lines, t_env, env):
    from pyflink.table.expressions import col
    out = lines.select(col("id"))
    {SIDE}
    t_env.create_temporary_view("ids", out)
    statements = t_env.create_statement_set()
    <call>
    return out
"""

EXTRA = f"""
@job.pipeline
def build(lines, t_env, env):
    import threading
    from pyflink.common import Types
    from pyflink.common.serialization import SimpleStringSchema
    from pyflink.datastream.connectors.kafka import KafkaRecordSerializationSchema, KafkaSink
    from pyflink.table.expressions import col
    out = lines.select(col("id"))
    stream = t_env.to_data_stream(out)
    {SIDE}
    statements = t_env.create_statement_set()
    schema = KafkaRecordSerializationSchema.builder().set_topic("<name>_side")
    schema = schema.set_value_serialization_schema(SimpleStringSchema()).build()
    sink = KafkaSink.builder().set_bootstrap_servers("<servers>").set_record_serializer(schema).build()
    <call>
    return out
"""

ELSEWHERE = """
@job.pipeline
def build(lines, t_env, env):
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import EnvironmentSettings, StreamTableEnvironment, TableEnvironment
    from pyflink.table.expressions import col
    own = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(own)
    tables.execute_sql("CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen')")
    tables.execute_sql("CREATE TABLE seen (n INT) WITH ('connector' = 'print')")
    statements = tables.create_statement_set()
    made = "CREATE TABLE made WITH ('connector' = 'print') AS SELECT 1 AS n"
    <call>
    return lines.select(col("id"))
"""

CATALOG = """
class Outside:
    \"\"\"A catalog that isn't in memory, which Java calls; it writes down what is changed.\"\"\"

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        def call(*given):
            if name.startswith(("create", "drop", "alter", "rename")):
                self.file.write_text(name)
            return {"getDefaultDatabase": "db", "databaseExists": True, "tableExists": False}.get(name)
        return call

    def getFactory(self):
        from pyflink.java_gateway import get_gateway
        return get_gateway().jvm.java.util.Optional.empty()

    getFunctionDefinitionFactory = getFactory

    class Java:
        implements = ["org.apache.flink.table.catalog.Catalog"]

@job.pipeline
def build(lines, t_env):
    from pathlib import Path
    from pyflink.table import Schema, DataTypes, TableDescriptor
    from pyflink.table.expressions import col
    t_env._j_tenv.registerCatalog("outside", Outside(Path("<file>")))
    described = TableDescriptor.for_connector("print").schema(Schema.new_builder().column("id", "STRING").build())
    try:
        <call>
    except Exception as error:
        print("caught", error)
    return lines.select(col("id"))
"""
