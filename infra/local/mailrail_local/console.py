"""This file calls the console's API, because an administrator's script would do the same."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

from .progress import Failed

# The gateway gives the console 30 s to answer.
CALL_SECONDS_MAX = 35
PAGES_MAX = 100

Json = dict[str, Any]


class Console:
    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: str) -> Json:
        suffix = "?" + urllib.parse.urlencode(query) if query else ""
        return self._call("GET", path + suffix, None)

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._call("POST", path, json.dumps(body or {}))

    def patch(self, path: str, body: Json) -> Json:
        return self._call("PATCH", path, json.dumps(body))

    def import_csv(self, path: str, table: str) -> Json:
        return self._call("POST", path, table, "text/csv")

    def approve(self, mailbox_ids: list[str]) -> None:
        """Approves the addresses of mailboxes."""
        done = self.post("/v1/mailboxes/approval", {"mailbox_ids": mailbox_ids, "verdict": "approve"})["done"]
        if len(done) != len(mailbox_ids):
            raise Failed(f"{len(mailbox_ids) - len(done)} of {len(mailbox_ids)} addresses could not be approved")

    def enable(self, mailbox_id: str, deliveries: Iterable[str]) -> None:
        for delivery in deliveries:
            self.post(f"/v1/mailboxes/{mailbox_id}/deliveries/{delivery}/enable")

    def all(self, path: str, **query: str) -> list[Json]:
        """Every item of a list that comes in pages."""
        items: list[Json] = []
        for _ in range(PAGES_MAX):
            page = self.get(path, **query)
            items += page["items"]
            if not page.get("cursor"):
                return items
            query["cursor"] = page["cursor"]
        raise Failed(f"GET {path} has more than {PAGES_MAX} pages; narrow it with a query")

    def _call(self, method: str, path: str, body: str | None, content_type: str = "application/json") -> Json:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": "application/json"}
        data = None if body is None else body.encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS_MAX) as answer:
                content = answer.read()
        except urllib.error.HTTPError as refused:
            # The body is a problem document, which says why.
            why = refused.read().decode(errors="replace")
            raise Failed(f"{method} {path}: the console answered {refused.code}: {why}") from None
        except OSError as unreachable:
            raise Failed(f"{method} {path}: the console is out of reach: {unreachable}") from None
        answered: Json = json.loads(content) if content else {}
        return answered
