"""Every constant of fal's wire, once, each with its source.

Only names, numbers and words that the other end defines; how they are combined is told by the modules
beside this one. "PROTOCOL n" is the section of the protocol fact sheet that a line rests on.
"""

from __future__ import annotations

from typing import Final

# --- hosts (PROTOCOL 1) -----------------------------------------------------------------------------

RUN_HOST: Final = "fal.run"
QUEUE_HOST: Final = "queue.fal.run"
WS_HOST: Final = "ws.fal.run"
REST_HOST: Final = "rest.fal.ai"
REST_HOST_OLD: Final = "rest.alpha.fal.ai"
CDN_HOST: Final = "v3.fal.media"
CDN_HOST_B: Final = "v3b.fal.media"
API_HOST: Final = "api.fal.ai"

#: Backup domains: same path, query, headers and key; exact host match only (PROTOCOL 1).
BACKUP_HOSTS: Final = {RUN_HOST: "falrun.com", QUEUE_HOST: "queue.falrun.com"}

# --- environment (PROTOCOL 1.3) ---------------------------------------------------------------------

ENV_KEY: Final = "FAL_KEY"
ENV_KEY_ID: Final = "FAL_KEY_ID"
ENV_KEY_SECRET: Final = "FAL_KEY_SECRET"
ENV_RUN_HOST: Final = "FAL_RUN_HOST"
ENV_QUEUE_HOST: Final = "FAL_QUEUE_RUN_HOST"
#: Ours, not fal's: points every service at a local emulator.
ENV_EMULATOR_URL: Final = "FAL_EMULATOR_URL"

# --- model ids (PROTOCOL 1.1) -----------------------------------------------------------------------

NAMESPACES: Final = ("workflows", "comfy")

# --- request headers (PROTOCOL 4) -------------------------------------------------------------------

AUTHORIZATION: Final = "Authorization"
KEY_SCHEME: Final = "Key"

START_TIMEOUT: Final = "X-Fal-Request-Timeout"
#: The newer name; wins where both are sent. We send both, with equal values (PROTOCOL 17).
START_TIMEOUT_NEW: Final = "X-Fal-Request-Start-Timeout"
#: The client sends at least this (the user's pages); the platform accepts more than 0.1 (PROTOCOL 17).
START_TIMEOUT_MIN: Final = 1.0
START_TIMEOUT_PLATFORM_MIN: Final = 0.1

RUNNER_HINT: Final = "X-Fal-Runner-Hint"
LIFECYCLE: Final = "X-Fal-Object-Lifecycle-Preference"
STORE_IO: Final = "X-Fal-Store-IO"
TAGS: Final = "X-Fal-Tags"
TAGS_MAX: Final = 10
TAG_KEY_MAX: Final = 64
TAG_VALUE_MAX: Final = 256
TAGS_TOTAL_MAX: Final = 1024
#: The current spelling and that of an older official page; both are sent to be sure (PROTOCOL 17).
DISABLE_FALLBACK: Final = ("x-app-fal-disable-fallback", "x-fal-disable-fallbacks")

# --- the queue (PROTOCOL 4, 6) ----------------------------------------------------------------------

QUEUE_PRIORITY: Final = "X-Fal-Queue-Priority"
PRIORITIES: Final = ("normal", "low")
NO_RETRY: Final = "X-Fal-No-Retry"
RETRY_CONFIG: Final = "X-Fal-Retry-Config"
#: The conditions a retry config names (PROTOCOL 4), and the ceiling of attempts in all (PROTOCOL 6.6).
RETRY_CONDITIONS: Final = ("server_error", "timeout", "connection_error")
ATTEMPTS_MAX: Final = 10

WEBHOOK_PARAMETER: Final = "fal_webhook"
MAX_QUEUE_LENGTH_PARAMETER: Final = "fal_max_queue_length"
LOGS_PARAMETER: Final = "logs"

IN_QUEUE: Final = "IN_QUEUE"
IN_PROGRESS: Final = "IN_PROGRESS"
COMPLETED: Final = "COMPLETED"

CANCEL_OK: Final = "OK"
CANCELLATION_REQUESTED: Final = "CANCELLATION_REQUESTED"
ALREADY_COMPLETED: Final = "ALREADY_COMPLETED"
NOT_FOUND: Final = "NOT_FOUND"

#: A comment keeps the status stream alive this often, in seconds (PROTOCOL 6.3).
KEEPALIVE: Final = 15.0
#: What a stream of events says it is (PROTOCOL 6.3, 8).
EVENT_STREAM: Final = "text/event-stream"
#: The last part of the path of a model that streams (PROTOCOL 8).
STREAM: Final = "stream"
#: How long a result is kept, in seconds: small ones, and from 10 KB on (PROTOCOL 6.4).
RESULT_KEPT: Final = 3600.0
LARGE_RESULT_KEPT: Final = 360.0
LARGE_RESULT: Final = 10_000

# --- response headers (PROTOCOL 3.1) ----------------------------------------------------------------

REQUEST_ID: Final = "x-fal-request-id"
BILLABLE_UNITS: Final = "x-fal-billable-units"
SERVED_FROM: Final = "x-fal-served-from"
#: Beside the request id, what an application is told of a call: the endpoint that was called, and who calls,
#: as a hash (PROTOCOL 3.1).
ENDPOINT: Final = "x-fal-endpoint"
CALLER: Final = "x-fal-caller-user-id"
#: No caller sets a header of such a name for an application (PROTOCOL 3.1).
RESERVED_PREFIX: Final = "x-fal-"
TIMEOUT_TYPE: Final = "X-Fal-Request-Timeout-Type"
TIMEOUT_TYPE_USER: Final = "user"
ERROR_TYPE: Final = "X-Fal-Error-Type"
RETRYABLE: Final = "X-Fal-Retryable"
NEEDS_RETRY: Final = "X-Fal-Needs-Retry"
#: An application's word to the platform, which no caller sees (PROTOCOL 5.4).
STOP_RUNNER: Final = "x-fal-stop-runner"

# --- lifecycle (PROTOCOL 4, 11) ---------------------------------------------------------------------

#: fal's words for a lifetime, in seconds. None: the field is omitted (PROTOCOL 11; a null was seen to
#: make objects vanish, PROTOCOL 4).
LIFETIMES: Final = {
    "never": None,
    "immediate": 60,
    "1h": 3600,
    "1d": 86_400,
    "7d": 7 * 86_400,
    "30d": 30 * 86_400,
    "1y": 365 * 86_400,
}

# --- errors (PROTOCOL 3.3, 5.2) ---------------------------------------------------------------------

CONCURRENCY_LIMIT: Final = "concurrent_requests_limit"

BAD_REQUEST: Final = "bad_request"
REQUEST_TIMEOUT: Final = "request_timeout"
STARTUP_TIMEOUT: Final = "startup_timeout"
RUNNER_SCHEDULING_FAILURE: Final = "runner_scheduling_failure"
RUNNER_CONNECTION_TIMEOUT: Final = "runner_connection_timeout"
RUNNER_CONNECTION_REFUSED: Final = "runner_connection_refused"
RUNNER_DISCONNECTED: Final = "runner_disconnected"
RUNNER_CONNECTION_ERROR: Final = "runner_connection_error"
RUNNER_INCOMPLETE_RESPONSE: Final = "runner_incomplete_response"
RUNNER_SERVER_ERROR: Final = "runner_server_error"
INTERNAL_ERROR: Final = "internal_error"
CLIENT_DISCONNECTED: Final = "client_disconnected"
CLIENT_CANCELLED: Final = "client_cancelled"

#: error_type → the status it typically comes with.
REQUEST_ERROR_STATUS: Final = {
    REQUEST_TIMEOUT: 504,
    STARTUP_TIMEOUT: 504,
    RUNNER_SCHEDULING_FAILURE: 503,
    RUNNER_CONNECTION_TIMEOUT: 503,
    RUNNER_DISCONNECTED: 503,
    RUNNER_CONNECTION_REFUSED: 503,
    RUNNER_CONNECTION_ERROR: 503,
    RUNNER_INCOMPLETE_RESPONSE: 502,
    RUNNER_SERVER_ERROR: 500,
    INTERNAL_ERROR: 500,
    CLIENT_DISCONNECTED: 499,
    CLIENT_CANCELLED: 499,
    BAD_REQUEST: 400,
}

#: Nothing ran, says the platform: sending it again is what it expects (PROTOCOL 3, 5.2).
NEVER_STARTED: Final = frozenset(
    (
        RUNNER_SCHEDULING_FAILURE,
        RUNNER_CONNECTION_TIMEOUT,
        RUNNER_CONNECTION_REFUSED,
        STARTUP_TIMEOUT,
    )
)

#: type of a model error → the status it comes with and the names in its ``ctx`` (PROTOCOL 5.1).
MODEL_ERRORS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "internal_server_error": (500, ()),
    "generation_timeout": (504, ()),
    "downstream_service_error": (500, ()),  # 400 on older pages, 504 in official toolkit source
    "downstream_service_unavailable": (500, ()),
    "content_policy_violation": (422, ()),
    "no_media_generated": (422, ()),
    "image_too_small": (422, ("min_height", "min_width")),
    "image_too_large": (422, ("max_height", "max_width")),
    "image_load_error": (422, ()),
    "image_aspect_ratio_error": (422, ("min_aspect_ratio", "max_aspect_ratio")),
    "file_download_error": (422, ()),
    "face_detection_error": (422, ()),
    "file_too_large": (422, ("max_size",)),
    "greater_than": (422, ("gt",)),
    "greater_than_equal": (422, ("ge",)),
    "less_than": (422, ("lt",)),
    "less_than_equal": (422, ("le",)),
    "multiple_of": (422, ("multiple_of",)),
    "sequence_too_short": (422, ("min_length",)),
    "sequence_too_long": (422, ("max_length",)),
    "one_of": (422, ("expected",)),
    "feature_not_supported": (422, ()),
    "invalid_archive": (422, ("supported_extensions",)),
    "archive_file_count_below_minimum": (
        422,
        ("min_count", "provided_count", "supported_extensions"),
    ),
    "archive_file_count_exceeds_maximum": (
        422,
        ("max_count", "provided_count", "supported_extensions"),
    ),
    "audio_duration_too_long": (422, ("max_duration", "provided_duration")),
    "audio_duration_too_short": (422, ("min_duration", "provided_duration")),
    "video_duration_too_long": (422, ("max_duration", "provided_duration")),
    "video_duration_too_short": (422, ("min_duration", "provided_duration")),
    "unsupported_audio_format": (422, ("supported_formats",)),
    "unsupported_image_format": (422, ("supported_formats",)),
    "unsupported_video_format": (422, ("supported_formats",)),
}
#: An entry's ``url`` is this and its type (PROTOCOL 5.1).
ERROR_PAGE: Final = "https://docs.fal.ai/errors#"

#: 403 texts start so; the reason follows (PROTOCOL 2.1).
LOCKED_PREFIX: Final = "User is locked. Reason: "

#: All response headers together stay under this (PROTOCOL 3.1).
RESPONSE_HEADERS_MAX: Final = 16 * 1024

# --- the platform API (PROTOCOL 14) -----------------------------------------------------------------

API_PREFIX: Final = "/v1"
HISTORY_PATH: Final = "/v1/models/requests/by-endpoint"
#: In a model's OpenAPI document: the order in which an object's properties are shown.
OPENAPI_ORDER: Final = "x-fal-order-properties"
#: And what the model is: ``endpointId``, ``category`` and pages about it.
OPENAPI_METADATA: Final = "x-fal-metadata"
#: Requests on a page of the history, at most and by itself.
HISTORY_LIMIT_MAX: Final = 100
HISTORY_LIMIT: Final = 50
#: How far the history looks back by itself, in seconds; and where a request is named.
HISTORY_SPAN: Final = 86_400.0
HISTORY_SPAN_NAMED: Final = 90 * 86_400.0
#: type of the platform API's errors → its status.
PLATFORM_ERRORS: Final = {
    "validation_error": 400,
    "authorization_error": 403,
    "not_found": 404,
    "rate_limited": 429,
    "server_error": 500,
    "not_implemented": 501,
}
#: Seconds until the platform API answers again after a 429.
RATELIMIT_RESET: Final = "x-ratelimit-reset"
#: Payload storage: how long in seconds, and up to which size (PROTOCOL 6.4).
PAYLOAD_KEPT: Final = 30 * 86_400.0
PAYLOAD_MAX: Final = 1_000_000

# --- storage (PROTOCOL 11) --------------------------------------------------------------------------

#: On uploads the lifecycle is said under this name, too, with the same JSON.
LIFECYCLE_UPLOAD: Final = "X-Fal-Object-Lifecycle"
FILE_NAME: Final = "X-Fal-File-Name"
CDN_TOKEN_TYPE: Final = "Bearer"

#: On the REST host: a token for the CDN, and what begins uploads by presigned URL.
CDN_TOKEN_PATH: Final = "/storage/auth/token"
INITIATE_PATH: Final = "/storage/upload/initiate"
INITIATE_MULTIPART_PATH: Final = "/storage/upload/initiate-multipart"
STORAGE_TYPE_PARAMETER: Final = "storage_type"
STORAGE_TYPE: Final = "fal-cdn-v3"
#: The other one: the official Python client asks for it, and it is reported to answer 400 lately.
STORAGE_TYPE_OLD: Final = "gcs"

#: On the CDN.
FILES_PREFIX: Final = "/files/"
UPLOAD_PATH: Final = "/files/upload"
MULTIPART_PATH: Final = "/files/upload/multipart"
#: What a signed URL is known by; how long it holds in seconds, by itself and at most.
IDENTITY_PARAMETER: Final = "identity"
SIGNED_FOR: Final = 86_400
SIGNED_FOR_MAX: Final = 7 * 86_400

#: More bytes than this go up in parts: as official clients do it, below fal's limit on one request.
MULTIPART_ABOVE: Final = 100 * 1024 * 1024
DATA_URI_MAX: Final = 10 * 1024 * 1024
"""Bytes of a file that may stand in an input by value (PROTOCOL 11)."""
#: Bytes of every part but the last.
PART_SIZE: Final = 10 * 1024 * 1024
PARTS_AT_ONCE: Final = 10

#: On the platform API: a file's access list and signed URL, and the account's settings.
STORAGE_PREFIX: Final = "/v1/storage/"
FILE_ACL_PATH: Final = f"{STORAGE_PREFIX}files/acl"
FILE_SIGN_PATH: Final = f"{STORAGE_PREFIX}files/sign"
STORAGE_SETTINGS_PATH: Final = f"{STORAGE_PREFIX}settings"

# --- sockets and their tokens (PROTOCOL 2.2, 9, 10) -------------------------------------------------

#: What begins and what ends an answer on the WebSocket gateway.
META_START: Final = "start"
META_END: Final = "end"

REALTIME_PATH: Final = "/realtime"
TOKEN_PARAMETER: Final = "fal_jwt_token"
MAX_BUFFERING_PARAMETER: Final = "max_buffering"
#: ``type`` of fal's own messages on a realtime connection; more of that prefix may come.
REALTIME_PREFIX: Final = RESERVED_PREFIX
REALTIME_MESSAGE: Final = "x-fal-message"
REALTIME_ERROR: Final = "x-fal-error"
REALTIME_TIMINGS: Final = "timings"
REALTIME_TIMEOUT: Final = "TIMEOUT"
REALTIME_INTERNAL_ERROR: Final = "INTERNAL_ERROR"
UNAUTHORIZED: Final = "Unauthorized"
#: Seconds a connection may take to open: a runner may have to start first.
SOCKET_OPEN: Final = 90.0

TOKENS_PATH: Final = "/tokens/"
TOKENS_REALTIME_PATH: Final = "/tokens/realtime"
#: Seconds a token is given for by itself.
TOKEN_SECONDS: Final = 120
