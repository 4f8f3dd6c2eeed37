Feature: A worker is started

  @S27
  Scenario: The process gets all it needs, and loads in the background
    Given a hive runs whose workers follow this script:
      """
      {"pauseAtLayer": 12}
      """
    When I ask the hive for a worker:
      """
      {"model": "builtin:honeycomb", "backend": "cpu"}
      """
    Then the spawn answer has state "loading", an id, a URL on the first worker port and a key
    And the worker's command line names model, backend, device, port and key file, and not the key
    And the worker's key file can be read by its owner only
    And the worker runs with UV_THREADPOOL_SIZE=1
    When the workers go on
    Then the hive lists 1 worker with:
      """
      {"state": "idle"}
      """

  @S28
  Scenario: A worker whose server is up calls back
    Given a hive that only records callbacks
    When I start `llm-worker-rbee --worker-id worker-s28 --port <first worker port> --callback-url <noted recorder>`
    Then the first callback arrives with:
      """
      {"worker_id": "worker-s28", "url": "http://127.0.0.1:<first worker port>", "model_ref": "builtin:honeycomb", "backend": "cpu", "device": 0, "state": "loading"}
      """
    And stdout comes to show "the hive knows this worker"
    And a later callback arrives with:
      """
      {"worker_id": "worker-s28", "state": "idle"}
      """
    Given a hive runs
    When I start `llm-worker-rbee --worker-id worker-s28b --port <second worker port> --callback-url http://127.0.0.1:<hive port>`
    Then stdout comes to show "the hive knows this worker"
    And the hive lists 1 worker with:
      """
      {"worker_id": "worker-s28b", "state": "idle"}
      """

  @S29
  Scenario: A callback makes an entry, in memory only
    Given a hive runs
    When I post to the hive's /v1/workers/ready:
      """
      {"worker_id": "worker-s29", "url": "http://127.0.0.1:<first worker port>", "model_ref": "builtin:honeycomb", "backend": "cpu", "device": 0}
      """
    Then the answer is 200
    And the hive lists 1 worker with:
      """
      {"worker_id": "worker-s29", "state": "loading", "slots_total": 1, "slots_available": 0, "url": "http://127.0.0.1:<first worker port>", "model_ref": "builtin:honeycomb", "backend": "cpu", "device": 0}
      """
    When the hive is restarted
    Then GET /v1/workers/list of the hive answers exactly {"workers":[]}
