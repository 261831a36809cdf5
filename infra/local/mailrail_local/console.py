"""A client of the console's HTTP API, as an administrator's script would be."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

from .progress import Failed

# The console answers within 30 s, or its gateway does.
CALL_SECONDS_MAX = 35
PAGES_MAX = 100
NOT_FOUND = 404

Json = dict[str, Any]


class Refused(Failed):
    """The console answered, and said no; `status` and the problem document say why."""

    def __init__(self, call: str, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{call} answered {status}: {problem.get('title', '')} {problem.get('detail', '')}".rstrip())


class Console:
    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: str) -> Json:
        suffix = "?" + urllib.parse.urlencode(query) if query else ""
        return self._call("GET", path + suffix, None, "application/json")

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._call("POST", path, json.dumps(body or {}).encode(), "application/json")

    def patch(self, path: str, body: Json) -> Json:
        return self._call("PATCH", path, json.dumps(body).encode(), "application/json")

    def approve(self, mailbox_ids: list[str]) -> list[str]:
        """Approves addresses, and answers the mailboxes for which that was possible."""
        answer = self.post("/v1/mailboxes/approval", {"mailbox_ids": mailbox_ids, "verdict": "approve"})
        return list(answer["done"])

    def test(self, mailbox_ids: list[str]) -> None:
        self.post("/v1/mailboxes/test", {"mailbox_ids": mailbox_ids})

    def test_of(self, mailbox_id: str) -> Json | None:
        """The last test of a mailbox; `None` if it was never tested."""
        try:
            return self.get(f"/v1/mailboxes/{mailbox_id}/test")
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def enable(self, mailbox_id: str, deliveries: Iterable[str]) -> None:
        for delivery in deliveries:
            self.post(f"/v1/mailboxes/{mailbox_id}/deliveries/{delivery}/enable")

    def import_csv(self, path: str, table: str) -> Json:
        return self._call("POST", path, table.encode(), "text/csv")

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

    def _call(self, method: str, path: str, body: bytes | None, content_type: str) -> Json:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": "application/json"}
        request = urllib.request.Request(self._url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS_MAX) as answer:
                content = answer.read()
        except urllib.error.HTTPError as refused:
            raise Refused(f"{method} {path}", refused.code, _problem(refused.read())) from None
        except OSError as unreachable:
            raise Failed(f"{method} {path}: the console is out of reach: {unreachable}") from None
        return json.loads(content) if content else {}


def _problem(content: bytes) -> Json:
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": content.decode(errors="replace")}
