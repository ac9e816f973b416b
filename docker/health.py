#!/usr/bin/env -S python3 -I
"""Is the service of this container well? `nemo-health PORT [PATH]`; exit code 0 or 1."""

import http.client
import sys

WAIT_S = 4


def main() -> int:
    port, path = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "/ready"
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        told = answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer: {error}")
        return 1
    print(told)
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
