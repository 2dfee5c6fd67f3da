"""The Flink client process: builds and compiles a job's pipeline, and submits it on request.

Only the modules of the child process (`__main__` and its imports) need PyFlink. The parent process uses `protocol` and
`process`, which neither import PyFlink nor start a JVM.
"""
