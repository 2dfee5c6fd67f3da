"""The environment variables that the client process gets from its parent.

An Airflow worker's environment contains the Fernet key, database URLs and connections. So the client and its JVM get
only the variables, listed by name, that compiling a job and talking to Flink need.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

MORE = "SLUICE_CLIENT_VARIABLES"
"""The variable that lists further variables for the client, separated by commas; `TEAM_*` matches a prefix."""

FILES = "SLUICE_FILES"
"""The variable with the directory of a client's temporary files, which its parent makes and deletes."""

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
    # Credentials of Flink's file systems, for reading savepoints.
    *("AWS_*", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_*"),
    # The client's class path; the other two mark a process of the local stack, which ends it on shutdown.
    *("SLUICE_CLIENT_CACHE", "SLUICE_HOME", "SLUICE_STACK"),
)

_NEVER = "PYFLINK_GATEWAY_*"
"""Address of another process's PyFlink gateway: the client must start its own instead of using that one."""


def client_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of the parent that the client gets."""
    return _named(variables, (*_NAMES, *_more(variables)))


_READ = ("TZ", "PYTHONPATH", "PYTHONHOME", "AWS_*", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_*", "HADOOP_*")
"""Those of `_NAMES` that a pipeline may read while it is built."""


def pipeline_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of the parent that a pipeline may read while it is built: those of `MORE`, and some others."""
    return _named(variables, (*_READ, *_more(variables)))


def _more(variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in variables.get(MORE, "").split(",") if name.strip())


def _named(variables: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if any(fnmatchcase(name, known) for known in names) and not fnmatchcase(name, _NEVER)
    }
