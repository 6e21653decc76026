# A node of kvsd: docker build -t kvsd .
# docker run --rm -p 8082:8090 --net=kvsd --ip=10.10.0.2 -e=SHARD_COUNT=2 -e=SOCKET_ADDRESS=10.10.0.2:8090 \
#   -e=VIEW=10.10.0.2:8090,10.10.0.3:8090,10.10.0.4:8090,10.10.0.5:8090 kvsd

FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
# The versions are those of the lock file; what only tests and checks need stays out.
RUN python -m venv /opt/kvsd \
    && /opt/kvsd/bin/pip install --no-cache-dir --constraint requirements.lock setuptools \
    && /opt/kvsd/bin/pip install --no-cache-dir --constraint requirements.lock --no-build-isolation .

FROM python:3.12-slim
COPY --from=build /opt/kvsd /opt/kvsd
ENV PATH=/opt/kvsd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    KVSD_DATA_DIR=/var/lib/kvsd
# twistd keeps a list of its plugins beside them, where the user below can't write: it is made here.
RUN useradd --system --user-group --home-dir /var/lib/kvsd --shell /usr/sbin/nologin kvsd \
    && install --directory --owner=kvsd --group=kvsd --mode=0750 /var/lib/kvsd \
    && twistd --help > /dev/null
USER kvsd
VOLUME /var/lib/kvsd
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; port = os.environ.get('SOCKET_ADDRESS', ':8090').rpartition(':')[2]; node = http.client.HTTPConnection('127.0.0.1', int(port), timeout=2); node.request('GET', '/healthz'); sys.exit(node.getresponse().status != 200)"]
CMD ["twistd", "--nodaemon", "--pidfile=", "--logger=kvsd.logs.observer", "kvsd"]
