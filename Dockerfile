# docker build -t tierproxy .
# docker run -v tierproxy:/var/lib/tierproxy -p 9300:9300 --env-file tierproxy.env tierproxy
FROM python:3.11-slim AS build
RUN python -m venv /opt/tierproxy
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY tierproxy tierproxy
RUN /opt/tierproxy/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN useradd --uid 9300 --no-create-home --home-dir /var/lib/tierproxy tierproxy \
    && install --directory --owner=tierproxy --group=tierproxy /var/lib/tierproxy
COPY --from=build /opt/tierproxy /opt/tierproxy
COPY config/tierproxy.toml /etc/tierproxy/tierproxy.toml
ENV PATH=/opt/tierproxy/bin:$PATH \
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
