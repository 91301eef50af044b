"""Calls both servers with clients that openapi-python-client made from their documents."""

import datetime
import os
import time

from aggregator_client import AuthenticatedClient as Aggregator
from aggregator_client.api.billing import show_plan
from aggregator_client.api.keys import create_key
from aggregator_client.api.projects import create_project, list_projects
from aggregator_client.api.usage import report_usage
from aggregator_client.models import CreateKeyBody, CreateProjectBody, Plan, Problem, ReportUsageGroupBy
from edge_client import AuthenticatedClient as Edge
from edge_client.api.edge import check, show_quota
from edge_client.models import CheckBody, Kind

PROJECT = "python"
DEADLINE_S = 30


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: got {found!r}, wanted {wanted!r}")


meter = Aggregator(base_url=os.environ["METER_URL"], token=os.environ["METER_TOKEN"])
new = CreateProjectBody(id=PROJECT, plan=Plan.COMMUNITY)
expect("the project's plan", create_project.sync(client=meter, body=new).plan, Plan.COMMUNITY)
refused = create_project.sync(client=meter, body=new)
expect("the refusal", isinstance(refused, Problem) and refused.code, "project_exists")
key = create_key.sync(PROJECT, client=meter, body=CreateKeyBody())
expect("the projects", PROJECT in [one.id for one in list_projects.sync(client=meter).projects], True)

edge = Edge(base_url=os.environ["METER_EDGE"], token=key.key)
question = CheckBody(kind=Kind.VERIFY, agent="bot", cost=2)
deadline = time.monotonic() + DEADLINE_S
while not getattr(check.sync(client=edge, body=question), "allowed", False):
    if time.monotonic() > deadline:
        raise SystemExit("the edge does not know the key")
expect("the quota's plan", show_quota.sync(client=edge).plan.value, "community")

expect("the plan", show_plan.sync(client=meter, project=PROJECT).plan, Plan.COMMUNITY)
today = datetime.datetime.now(datetime.timezone.utc).date()
usage = report_usage.sync(client=meter, project=PROJECT, from_=today, to=today)
expect("the usage's first day", usage.from_, today)
by_day = report_usage.sync(
    client=meter, project=PROJECT, from_=today, to=today, group_by=ReportUsageGroupBy.DAY
)
expect("the usage by day is one of its forms", by_day is not None, True)
