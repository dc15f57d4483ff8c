# docker build -t tierproxy .
# docker run -v tierproxy:/var/lib/tierproxy -p 9300:9300 --env-file tierproxy.env \
#     --read-only --cap-drop=ALL --security-opt=no-new-privileges tierproxy
#
# A release is built with the digest of its base image: --build-arg BASE=docker.io/library/python@sha256:...
# What goes in is locked with hashes (release/requirements.txt); no secret does: they come by environment or volume.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY release/requirements.txt release/build.txt release/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement release/build.txt \
    && python -m venv /opt/tierproxy \
    && /opt/tierproxy/bin/pip install --require-hashes --only-binary=:all: --requirement release/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY tierproxy tierproxy
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /dist . \
    && /opt/tierproxy/bin/pip install --no-deps --no-index /dist/*.whl \
    && /opt/tierproxy/bin/pip uninstall --yes pip

FROM ${BASE}
RUN useradd --uid 9300 --no-create-home --home-dir /var/lib/tierproxy --shell /usr/sbin/nologin tierproxy \
    && install --directory --mode=0700 --owner=tierproxy --group=tierproxy /var/lib/tierproxy
COPY --from=build /opt/tierproxy /opt/tierproxy
COPY config/tierproxy.toml /etc/tierproxy/tierproxy.toml
ENV PATH=/opt/tierproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TIERPROXY_CONFIG=/etc/tierproxy/tierproxy.toml \
    TIERPROXY_LISTEN_ADDRESS=0.0.0.0:9300
USER tierproxy
WORKDIR /var/lib/tierproxy
VOLUME /var/lib/tierproxy
# 9300 is the object port, 9301 the admin port.
EXPOSE 9300 9301
# Blobs that wait for alt are on the volume: a stop that is cut short loses nothing, it only leaves more to do at start.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9300/-/health', timeout=2)"]
ENTRYPOINT ["tierproxy"]
CMD ["serve"]
