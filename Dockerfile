# A node of kvsd: docker build -t kvsd .
# docker run --rm -p 8082:8090 --net=kvsd --ip=10.10.0.2 -e=SHARD_COUNT=2 -e=SOCKET_ADDRESS=10.10.0.2:8090 \
#   -e=VIEW=10.10.0.2:8090,10.10.0.3:8090,10.10.0.4:8090,10.10.0.5:8090 kvsd

# The base image by its digest (of Python 3.12.14 on Debian trixie, for all platforms), so that a build is repeatable.
# For a newer one: docker pull python:3.12-slim, and --build-arg BASE=python:3.12-slim@sha256:… with the digest that it shows.
ARG BASE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

FROM ${BASE} AS build
WORKDIR /src
# All that the lock file names, each file checked against its hash; what only tests and checks need is not installed.
COPY requirements.lock .
RUN pip download --no-cache-dir --dest /locked --require-hashes --requirement requirements.lock
COPY . .
RUN python -m venv /opt/kvsd \
    && /opt/kvsd/bin/pip install --no-cache-dir --no-index --find-links /locked setuptools \
    && /opt/kvsd/bin/pip install --no-cache-dir --no-index --find-links /locked --no-build-isolation .

FROM ${BASE}
COPY --from=build /opt/kvsd /opt/kvsd
ENV PATH=/opt/kvsd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    KVSD_DATA_DIR=/var/lib/kvsd
# twistd keeps a list of its plugins beside them, where the user below can't write: it is made here.
RUN useradd --system --user-group --home-dir /var/lib/kvsd --shell /usr/sbin/nologin kvsd \
    && install --directory --owner=kvsd --group=kvsd --mode=0700 /var/lib/kvsd \
    && twistd --help > /dev/null
USER kvsd
VOLUME /var/lib/kvsd
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; port = os.environ.get('SOCKET_ADDRESS', ':8090').rpartition(':')[2]; node = http.client.HTTPConnection('127.0.0.1', int(port), timeout=2); node.request('GET', '/healthz'); sys.exit(node.getresponse().status != 200)"]
# As twistd, which does the rest; SIGTERM is obeyed from before its start, though this is process 1 (see docker run --init).
CMD ["python", "-m", "kvsd", "--nodaemon", "--pidfile=", "--logger=kvsd.logs.observer", "kvsd"]
