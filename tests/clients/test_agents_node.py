"""`@openai/agents-realtime` on Node, unmodified, against the running server.

Every scenario also checks each event against the schema the SDK itself reads events with: one that
does not fit is silently ignored by it, or ends the Node process.
"""

import pytest

from tests.clients.kaiwa_server import KaiwaServer
from tests.clients.scenario_host import ScenarioHost, node_scenarios

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("scenario", node_scenarios("node/agents.mjs"))
def test_the_agents_client(agents: ScenarioHost, server: KaiwaServer, scenario: str) -> None:
    agents.play(scenario, server.http_url)
