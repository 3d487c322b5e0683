"""What is spoken in the trial lists that voxangle's own models are measured on: their names say it to nobody else."""

from __future__ import annotations

__all__ = ["CONDITIONS"]

CONDITIONS = {
    "7b5ce7350e5c739bd171e8735b53e016cd676775eb561b69015e297618b29e8b": "US English, spelled and read",
    "a12134c5aedcf15457e8281773012c9d1372480331bbf86b81b437f394db9863": "single words in Arabic",
    "e628eed3c8ebe5b25a0f154613c02de1911a9bdc1ed47f23b032ba46032fde77": "single words in Mandarin and English",
    "b20a475630f5d6b1000042daa37efd94da976ea44a55662b9ec02596bd3c25ba": "US English, read from books",
    "e392346ea447f459407c101496cada317c51c4211b8a4236a7658d1da5c791fa": "six lists at one threshold",
    "c2cdd4e2d4a46d23a7246ff93744e30d5771f78e50c174e3f8294a8818f15c0c": "English read by Mandarin speakers",
    "29dae337f09af34b3b73607f6877e310f47bf9b3decd18335cef71598ca654b9": "English over the telephone",
    "24c009ec33233f23d1eb3cbc553662d60c18b16bd856b5e6c52b44aa7c474d31": "the two recordings in different languages",
    "8b5e4aa8252586faabae22672c4966da657965461bd6b9da56b34b2d88b47164": "languages and codecs that it has not learnt",
}
"""By the SHA-256 of the list: one of the same name may hold anything (``docs/models.md`` tells more of each)."""
