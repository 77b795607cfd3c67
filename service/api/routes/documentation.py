"""The documentation's pages: they load their scripts from this service, by links that hold behind any path prefix."""

from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse

from service.api.access.middleware import DOCUMENTATION_ASSETS

DOCUMENT, ASSETS = "openapi.json", "docs"  # relative to /docs and /redoc


def documentation_router(title: str) -> APIRouter:
    """/docs (Swagger UI), /redoc (Redoc), and their files below /docs, which come with the package fastapi-offline."""
    router = APIRouter(include_in_schema=False)
    script, style, redoc, icon = (f"{ASSETS}/{asset}" for asset in DOCUMENTATION_ASSETS)
    folder = files("fastapi_offline") / "static"

    @router.get("/docs")
    async def swagger() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=DOCUMENT,
            title=title,
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
        )

    @router.get("/redoc")
    async def redocumented() -> HTMLResponse:
        return get_redoc_html(
            openapi_url=DOCUMENT, title=title, redoc_js_url=redoc, redoc_favicon_url=icon, with_google_fonts=False
        )

    def file(path: str) -> Callable[[], FileResponse]:
        return lambda: FileResponse(path)

    for asset in DOCUMENTATION_ASSETS:
        router.add_api_route(f"/{ASSETS}/{asset}", file(str(folder / asset)), response_class=FileResponse)
    return router
