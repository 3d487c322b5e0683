"""The page in the browser: what is served at the root, and the policy it is served with."""

from voxangle.service.page.files import router

__all__ = ["router"]
