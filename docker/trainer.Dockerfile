# Training: torch and the recipes. Downloads, checkpoints and trained models go to volumes.
FROM python:3.13-slim
# Anything that pip installs as torch; the default brings CUDA along.
ARG TORCH=torch==2.13.0
WORKDIR /build
COPY pyproject.toml .
# The package is empty here: only what it needs is installed, and no change of code makes this layer old.
RUN mkdir fivefold && touch README.md fivefold/__init__.py \
 && pip install --no-cache-dir "$TORCH" \
 && pip install --no-cache-dir '.[train]' \
 && pip uninstall --yes fivefold
# Data sets come as Debian packages; what apt knows of them is kept. Others are put on the volume by hand.
RUN apt-get update
RUN useradd --uid 10001 --no-create-home fivefold && install -d -o fivefold /data /runs /trained
WORKDIR /app
COPY LICENSE .
COPY model_store/*.py model_store/
COPY training training
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
ENTRYPOINT ["python", "-m", "training", "--data", "/data", "--runs", "/runs", "--store", "/trained"]
CMD ["list"]
