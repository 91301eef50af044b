"""Asks an MCP server by the official client: `ask.py CALLS PROGRAM ARGUMENT…`, with this process's environment.

CALLS is JSON: a list of `[tool, arguments]`. Prints JSON: who the server says it is, its tools, and each answer.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    calls = json.loads(sys.argv[1])
    program = StdioServerParameters(command=sys.argv[2], args=sys.argv[3:], env=dict(os.environ))
    async with stdio_client(program) as (read, write), ClientSession(read, write) as session:
        server = await session.initialize()
        tools = await session.list_tools()
        answers = []
        for tool, arguments in calls:
            try:
                answers.append((await session.call_tool(tool, arguments)).model_dump(mode="json", by_alias=True))
            except Exception as refused:
                answers.append({"refused": str(refused)})
    print(json.dumps({
        "server": server.model_dump(mode="json", by_alias=True),
        "tools": [tool.model_dump(mode="json", by_alias=True) for tool in tools.tools],
        "answers": answers,
    }))


asyncio.run(main())
