"""The Flink client process: builds a job's pipeline, compiles it, waits, and submits it.

Only what runs in that process (`__main__` and what it imports) needs PyFlink. `protocol` and `process` are the
parent's side and import neither PyFlink nor a JVM.
"""
