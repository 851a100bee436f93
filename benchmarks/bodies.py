"""What is asked and answered in the throughput measurement: one text-to-image call, as fal documents it.

The input and the output of the model, and the headers that come with it (PROTOCOL 3, 3.1).
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["ANSWER", "AT_ONCE", "INPUT", "KEY", "LATER", "LATER_SECONDS"]

KEY: Final = "00000000-0000-4000-8000-000000000000:0123456789abcdef0123456789abcdef"

#: Models of the benchmark's server: one answers at once, one after a second.
AT_ONCE: Final = "fal-ai/fast-sdxl"
LATER: Final = "fal-ai/fast-sdxl/later"
LATER_SECONDS: Final = 1.0

INPUT: Final[dict[str, Any]] = {
    "prompt": "a photo of a cat on a windowsill at dusk, soft light, 35mm, shallow depth of field",
    "negative_prompt": "blurry, watermark",
    "image_size": "square_hd",
    "num_inference_steps": 25,
    "guidance_scale": 7.5,
    "num_images": 1,
    "seed": 4182374,
}

_OUTPUT: Final = {
    "images": [
        {
            "url": "https://v3.fal.media/files/rabbit/YYbm6L3DaXYHDL1_A4OaL.jpeg",
            "width": 1024,
            "height": 1024,
            "content_type": "image/jpeg",
        }
    ],
    "timings": {"inference": 2.507048434985336},
    "seed": 15860307465884635512,
    "has_nsfw_concepts": [False],
    "prompt": INPUT["prompt"],
}

_BODY: Final = json.dumps(_OUTPUT).encode()

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"Date: Mon, 27 Oct 2025 03:52:29 GMT\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: keep-alive\r\n"
    b"x-fal-request-id: 7f9c6d04-3b7e-4d55-9b8e-2f9e1a1d0c11\r\n"
    b"x-fal-billable-units: 1\r\n"
    b"\r\n%b" % (len(_BODY), _BODY)
)
"""A whole answer, head and body."""
