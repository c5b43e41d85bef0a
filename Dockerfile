# The wheel in an environment with the pinned libraries; no compiler, no root at run time.
FROM python:3.11-slim AS build
WORKDIR /source
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt build hatchling
COPY pyproject.toml README.md LICENSE ./
COPY fhir_tracker fhir_tracker
COPY mappings mappings
COPY subscriptions subscriptions
COPY api api
RUN python -m build --wheel --no-isolation --outdir /wheel

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY constraints.txt /tmp/constraints.txt
RUN --mount=from=build,source=/wheel,target=/wheel \
    pip install --no-cache-dir --constraint /tmp/constraints.txt /wheel/*.whl \
    && useradd --create-home --uid 10001 tracker \
    && install -d -o tracker -g tracker /data
USER tracker
WORKDIR /data
VOLUME /data
ENV XDG_DATA_HOME=/data FHIR_TRACKER_DATABASE=sqlite:////data/tracker.db
EXPOSE 8080
CMD ["fhir-tracker", "serve", "--host", "0.0.0.0", "--port", "8080"]
