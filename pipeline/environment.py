"""The environment of programs that run the code or the data of others: variables that a list allows, no credentials."""

from collections.abc import Iterable, Mapping

# What programs need to start, to write text and to use the machine's processors.
PROGRAMS = frozenset("""
    PATH HOME USER LOGNAME TMPDIR TZ LANG LANGUAGE LC_ALL LC_CTYPE LC_MESSAGES LC_NUMERIC LC_TIME TERM NO_COLOR COLUMNS
    LD_LIBRARY_PATH PYTHONPATH PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONWARNINGS PYTHONHASHSEED XDG_CACHE_HOME
    KERAS_BACKEND TF_USE_LEGACY_KERAS
    CUDA_VISIBLE_DEVICES CUDA_HOME NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES OMP_NUM_THREADS
    OPENBLAS_NUM_THREADS MKL_NUM_THREADS TF_CPP_MIN_LOG_LEVEL TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS
    TF_ENABLE_ONEDNN_OPTS TF_FORCE_GPU_ALLOW_GROWTH TF_GPU_ALLOCATOR TF_XLA_FLAGS XLA_FLAGS TF_DETERMINISTIC_OPS
    """.split())
# What a training needs besides that: git, and the way to pretrained weights.
TRAINING = PROGRAMS | frozenset("""
    CI GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM HTTPS_PROXY HTTP_PROXY NO_PROXY https_proxy http_proxy no_proxy
    CURL_CA_BUNDLE REQUESTS_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR KERAS_HOME
    """.split())


def allowed(environ: Mapping[str, str], names: Iterable[str] = PROGRAMS) -> dict[str, str]:
    """Returns the variables of these names."""
    return {name: environ[name] for name in names if name in environ}
