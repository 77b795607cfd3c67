# The API (EXTRAS=service,redis), the CPU worker (cpu,redis) and the GPU worker (gpu,redis): one recipe, other packages.
FROM python:3.13-slim AS packages
ARG EXTRAS
WORKDIR /build
COPY pyproject.toml .
# The package is empty here: only what it needs is installed, and no change of code makes this layer old.
RUN mkdir fivefold && touch README.md fivefold/__init__.py \
 && python -m venv --without-pip /venv \
 && pip --python /venv install --no-cache-dir ".[$EXTRAS]" \
 && pip --python /venv uninstall --yes fivefold

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home fivefold
COPY --from=packages /venv /venv
WORKDIR /app
COPY model_store/models model_store/models
COPY LICENSE .
COPY fivefold fivefold
COPY model_store/*.py model_store/
COPY service service
# Compiled once, here: the root is read-only where it runs.
RUN python -m compileall -q .
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
ENTRYPOINT ["python", "-m", "service"]
