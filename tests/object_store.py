"""An S3 of the tests' own, over HTTP, that can be told to refuse requests."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Thread
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from pyarrow.fs import FileSelector, FileSystem
from werkzeug.serving import make_server

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "of ours",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NUMBERS = count()


class ObjectStore:
    def __init__(self, host: str) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.server = make_server(host, 0, self._answer, threaded=True)
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _request: False
        """Whether a request, as WSGI has it, is forbidden."""

    def fresh(self) -> str:
        """The URL of a new bucket's folder."""
        bucket = f"lab{next(NUMBERS)}"
        self._files("allow_bucket_creation=true").create_dir(bucket)
        return f"s3://{bucket}/coc?{self._options}"

    def names(self, url: str) -> list[str]:
        """Of the files in the URL's bucket, without its folder's."""
        bucket = url.split("/")[2]
        found = self._files().get_file_info(FileSelector(bucket, recursive=True))
        return [each.path.removeprefix(f"{bucket}/coc/") for each in found if each.is_file]

    @property
    def _options(self) -> str:
        return f"scheme=http&endpoint_override={self.server.host}:{self.server.port}&region=us-east-1"

    def _files(self, *more: str) -> Any:
        return FileSystem.from_uri("s3://any?" + "&".join([self._options, *more]))[0]

    def _answer(self, request: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.refuses(request):
            start_response("403 Forbidden", [("Content-Length", "0")])
            return []
        return self._app(request, start_response)  # type: ignore[no-any-return]


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """With its credentials in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = dict(os.environ)
    os.environ.update(CREDENTIALS)
    store = ObjectStore(host)
    thread = Thread(target=store.server.serve_forever)
    thread.start()
    try:
        yield store
    finally:
        store.server.shutdown()
        thread.join()
        store.server.server_close()
        os.environ.clear()
        os.environ.update(before)
