"""Small jobs for tests, as a user would write them."""

HEAD = """
from datetime import datetime
from sluice import Health, Job, JobConfig, Kafka, Record, interval

class Line(Record):
    id: str
    at: int

LINES = Kafka("{name}_lines", record=Line, event_time="at")

class Out(Record):
    {fields}

job = Job(name="{name}", reads={{"lines": LINES}}, writes=Kafka("{name}_out", record=Out))
"""

TABLE_API = """
@job.pipeline
def build(lines):
    from pyflink.table.expressions import col
    return lines.filter(col("id") != "b").select(col("id"))
"""

SQL = """
@job.pipeline
def build(t_env):
    return t_env.sql_query("SELECT id || '!' AS id FROM lines")
"""

UDF = """
def loud(text):
    return text.upper()

@job.pipeline
def build(lines):
    from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf
    return lines.select(udf(loud, result_type=DataTypes.STRING())(col("id")).alias("id"))
"""

PANDAS = """
def loud(texts):
    return texts.str.upper()

@job.pipeline
def build(lines):
    from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf
    return lines.select(udf(loud, result_type=DataTypes.STRING(), func_type="pandas")(col("id")).alias("id"))
"""

DATA_STREAM = """
def loud(row):
    from pyflink.common import Row
    return Row(row[0].upper())

@job.pipeline
def build(lines, t_env):
    from pyflink.common import Types
    from pyflink.table.expressions import col
    stream = t_env.to_data_stream(lines.select(col("id")))
    return stream.map(loud, output_type=Types.ROW_NAMED(["id"], [Types.STRING()]))
"""


def source(name, body, fields="id: str"):
    return HEAD.format(name=name, fields=fields) + body
