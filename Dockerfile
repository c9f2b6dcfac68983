# For people who build with Docker or buildah. Our own releases are built by plimsoll itself from
# images/plimsoll.yaml.
FROM python:3.13-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir uv
COPY requirements-image.lock ./
RUN uv pip install --target /opt/plimsoll --require-hashes -r requirements-image.lock
COPY . .
RUN uv build --wheel -o /dist \
 && uv pip install --target /opt/plimsoll --no-deps /dist/*.whl \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/plimsoll

FROM python:3.13-slim
# Sources of packages that come from Git are unpacked by git.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
ENV PYTHONPATH=/opt/plimsoll PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/plimsoll /opt/plimsoll
RUN ln -s /opt/plimsoll/bin/plimsoll /usr/local/bin/plimsoll
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["plimsoll"]
