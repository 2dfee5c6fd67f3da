# syntax=docker/dockerfile:1
# The images of docker-compose.yml. `flink`: Flink's image with the jars that the jobs need and Python for their functions.
# `airflow`: Airflow's slim image with Sluice, PyFlink and the same jars. The versions are those of requirements.txt, pom.xml
# and the Makefile; tests/unit/test_compose.py compares them.
ARG AIRFLOW_VERSION=3.3.2
ARG FLINK_VERSION=2.3.0
ARG UV_VERSION=0.13.9

# The Kafka connector, and Sluice's JSON format, built from source.
FROM maven:3.9-eclipse-temurin-17 AS jars
WORKDIR /build
COPY pom.xml ./
COPY include/java include/java
# Set whole seconds as modification times: the client's class archive is valid only for the jars' exact times, and image
# layers round them.
RUN mvn --quiet --batch-mode --no-transfer-progress -Djars=/jars package \
    && find /jars -name '*.jar' -exec touch --date=@1767225600 {} +

FROM ghcr.io/astral-sh/uv:${UV_VERSION} AS uv

# Python functions run in the TaskManagers' Python, whose minor version must be the client's. Flink's image has no Python.
FROM flink:${FLINK_VERSION}-scala_2.12-java17 AS flink-python
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
COPY --from=uv /uv /usr/local/bin/uv
COPY requirements.lock /tmp/requirements.lock
ENV UV_PYTHON_INSTALL_DIR=/opt/python
RUN uv venv --python 3.11 /opt/venv \
    && uv pip install --no-cache --python /opt/venv/bin/python --constraint /tmp/requirements.lock apache-flink pydantic

FROM flink:${FLINK_VERSION}-scala_2.12-java17 AS flink
COPY --from=flink-python /opt/python /opt/python
COPY --from=flink-python /opt/venv /opt/venv
COPY --from=jars --chown=flink:flink /jars/flink/ /opt/flink/lib/
USER root
# A new volume gets the owner of the directory on which it is mounted.
RUN cp --preserve /opt/flink/opt/flink-python-*.jar /opt/flink/lib/ \
    && install --directory --owner=flink --group=flink \
        /var/lib/flink /var/lib/flink/checkpoints /var/lib/flink/savepoints
USER flink

# The packages of requirements.lock. One of them has no wheel and is compiled from C.
FROM apache/airflow:slim-${AIRFLOW_VERSION}-python3.11 AS airflow-build
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
USER airflow
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock \
    && find /home/airflow/.local -path '*/pyflink/*' -name '*.jar' -exec touch --date=@1767225600 {} +

FROM apache/airflow:slim-${AIRFLOW_VERSION}-python3.11 AS airflow
# Replace the image's packages instead of adding to them: otherwise two versions of a package could both be found.
RUN rm -rf /home/airflow/.local
COPY --from=airflow-build --chown=airflow:0 /home/airflow/.local /home/airflow/.local
# The client uses the same JDK as the cluster.
COPY --from=flink /opt/java/openjdk /opt/java/openjdk
COPY --chown=airflow:0 pyproject.toml requirements.txt README.md LICENSE /opt/sluice/
COPY --chown=airflow:0 include/sluice /opt/sluice/include/sluice
COPY --chown=airflow:0 dags /opt/sluice/dags
COPY --chown=airflow:0 deployments /opt/sluice/deployments
COPY --chown=airflow:0 flink_jobs /opt/sluice/flink_jobs
COPY --from=jars --chown=airflow:0 /jars/flink /opt/sluice/.sluice/jars/flink
USER root
RUN chown airflow:0 /opt/sluice /opt/sluice/include /opt/sluice/.sluice \
    && install --directory --owner=9999 --group=9999 \
        /var/lib/flink /var/lib/flink/checkpoints /var/lib/flink/savepoints \
    && install --directory --owner=airflow --group=root --mode=2770 /var/lib/sluice /opt/airflow/auth
USER airflow
ENV JAVA_HOME=/opt/java/openjdk \
    PATH=/opt/java/openjdk/bin:${PATH} \
    SLUICE_ROOT=/opt/sluice \
    SLUICE_FLINK_LIB=/opt/sluice/.sluice/flink/lib \
    SLUICE_CLIENT_CACHE=/opt/sluice/.sluice/client \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sluice/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
# The second command collects the client's jars and records which classes its JVM loads, to shorten deploys.
RUN pip install --no-cache-dir --no-deps --editable /opt/sluice \
    && env --unset=SLUICE_FLINK_LIB SLUICE_HOME=/opt/sluice/.sluice python -m sluice.local client
ENV SLUICE_HOME=/var/lib/sluice
