Feature: Workers that a hive reports to the queen by itself

  Background:
    Given the time limit heartbeat_stale is 400ms
    And the time limit health_call is 300ms
    And a queen runs

  @L061
  Scenario: A reported worker is in the registry, in memory only
    When the hive of "attic" registers the worker "w-1"
    Then the answer is 201
    And the queen's registry has the worker "w-1" as "loading"
    When the queen is killed and started anew
    Then the queen's registry has no worker

  @L062
  Scenario: The list gives id, hive, capabilities and models, and a capability narrows it
    When the hive of "attic" registers the worker "w-1" with:
      """
      {"backend": "cuda", "device": 1, "capabilities": ["cuda:1"], "models_loaded": ["hf:org/repo"]}
      """
    And the hive of "attic" registers the worker "w-2" with:
      """
      {"backend": "cpu", "device": 0}
      """
    Then the queen's registry, asked for "cuda", lists exactly:
      """
      [{"worker_id": "w-1", "rbee_hive_url": "http://attic.example:9200", "capabilities": ["cuda:1"], "models_loaded": ["hf:org/repo"]}]
      """
    And the queen's registry, asked for "cpu:0", lists exactly:
      """
      [{"worker_id": "w-2", "capabilities": ["cpu:0"]}]
      """

  @L063 @L064
  Scenario: A change of the state is taken, and a removal
    When the hive of "attic" registers the worker "w-1"
    And it sends PATCH /v2/workers/w-1 with {"state": "busy", "slots_available": 0}
    Then the answer is 200
    And the queen's registry has the worker "w-1" as "busy"
    When it sends DELETE /v2/workers/w-1
    Then the answer is 204
    And the queen's registry has no worker

  @L065 @L069
  Scenario: A worker without a heartbeat goes, one that is heard of stays
    Given the worker "w-2" of "attic" beats every 100ms
    When the hive of "attic" registers the worker "w-1"
    Then the worker "w-1" leaves the queen's registry
    And the queen's registry has the worker "w-2" as "idle"

  @L066
  Scenario: Of three hives that claim one id at once, one gets it
    When the hives of "attic", "cellar" and "shed" register the worker "w-1" at once
    Then one of them is answered 201 and the others 409 with the code WORKER_ALREADY_REGISTERED
    And the queen's registry has the worker "w-1" as "loading"

  @L067
  Scenario: Changes that come at once are applied one after the other and whole
    When the hive of "attic" registers the worker "w-1"
    And 30 changes of "w-1" between busy with 0 and idle with 4 slots come at once
    Then the queen's registry has the worker "w-1" busy with 0 or idle with 4 slots

  @L068
  Scenario: A registration while stale workers are cleaned up is not lost
    Given the worker "w-9" of "attic" is registered again and again for 1 s
    Then it was in the queen's registry each time

  @L073
  Scenario: Ten workers that are registered at once are all there
    When the hive of "attic" registers 10 workers at once
    Then the queen's registry has 10 workers with different ids
