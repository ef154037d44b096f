# syntax=docker/dockerfile:1
# kbadmin without torch: the embedding model is exported to ONNX in a stage of its own.
#
#   docker compose up --build            everything, see docker-compose.yml
#   docker build --tag kbadmin .         one image for web, worker and Chroma
#   docker run -p 127.0.0.1:8001:8001 -v kbadmin:/data kbadmin       all three in one container

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

FROM base AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements-runtime.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements-runtime.txt

# What prepares models. `docker compose run --rm prepare` runs it for another one than the default.
FROM packages AS tools
COPY requirements.txt ./
# torch comes first and from its own index: the default one has only the CUDA build for Linux.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)" \
    && pip install -r requirements.txt

FROM tools AS export
ARG KBADMIN_EMBEDDING_MODEL=sentence-transformers/all-MiniLM-L6-v2
COPY retrieval ./retrieval
# A prepared model belongs to who prepared it; here another user serves it.
RUN python -m retrieval.embedding.export "$KBADMIN_EMBEDDING_MODEL" /opt/models \
    && chmod -R a+rX /opt/models

FROM packages AS static
COPY . ./
RUN KBADMIN_DATA_DIR=/tmp/data KBADMIN_STATIC_DIR=/opt/static \
        python manage.py collectstatic --no-input --verbosity 0 \
    && python -m whitenoise.compress --quiet /opt/static

FROM base AS application
ENV HOME=/tmp \
    HOST=0.0.0.0 \
    PORT=8001 \
    KBADMIN_DATA_DIR=/data \
    KBADMIN_STATIC_DIR=/opt/static
# Volumes take over the owner of the folder that they are mounted on.
RUN groupadd --gid 10001 kbadmin \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp kbadmin \
    && install --directory --owner kbadmin --group kbadmin /data /chroma /nextchat
COPY --from=export /opt/models /opt/models
COPY --from=static /opt/static /opt/static
COPY . ./
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --start-interval=2s \
    CMD ["python", "deploy/docker/healthcheck.py", "http://127.0.0.1:8001/healthz"]
ENTRYPOINT ["deploy/docker/entrypoint.sh"]
CMD ["python", "manage.py", "start"]
VOLUME /data
EXPOSE 8001

FROM application AS prepare
# Models that it downloads are too large for /tmp, which is in memory.
ENV HF_HOME=/data/hub
COPY --from=tools /opt/venv /opt/venv
USER 10001:10001
CMD ["python", "manage.py", "prepare_model"]

# The last stage is the one that is built by default.
FROM application AS runtime
COPY --from=packages /opt/venv /opt/venv
RUN python -c "import importlib.util as util; assert util.find_spec('torch') is None"
USER 10001:10001
