"""What the client process takes from the environment of the process that starts it.

An Airflow worker's environment has the Fernet key, database URLs and connections. The client compiles a job and talks
to Flink: it and its JVM get the variables that this needs, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

MORE = "SLUICE_CLIENT_VARIABLES"
"""The variable that names further ones for the client, separated by commas; `TEAM_*` names all that begin so."""

_NAMES = (
    # The machine, its user, its language.
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "LANG", "LANGUAGE", "LC_*", "TZ"),
    *("TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH"),
    # Python and Java.
    *("PYTHON*", "VIRTUAL_ENV", "JAVA_HOME", "JVM_ARGS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
    # Flink: its directories and options, headers of its REST client, its logging, Hadoop's configuration.
    *("FLINK_*", "PYFLINK_*", "LOG4J_PROPERTIES", "LOGBACK_XML"),
    *("HADOOP_*", "HBASE_CONF_DIR", "YARN_CONF_DIR", "KRB5_CONFIG", "KRB5CCNAME"),
    # Proxies and certificate authorities.
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    # Flink's file systems log in by these where the client reads a savepoint.
    *("AWS_*", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_*"),
    # Its class path; and by what the local stack knows a process as its own, to end it when the stack goes down.
    *("SLUICE_CLIENT_CACHE", "SLUICE_HOME", "SLUICE_STACK"),
)

_NEVER = "PYFLINK_GATEWAY_*"
"""Where PyFlink's gateway listens: the client starts one of its own, and would take another process's for that."""


def client_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that the client may have, of the parent's."""
    more = [name.strip() for name in variables.get(MORE, "").split(",") if name.strip()]
    names = (*_NAMES, *more)
    return {
        name: value
        for name, value in variables.items()
        if any(fnmatchcase(name, known) for known in names) and not fnmatchcase(name, _NEVER)
    }
