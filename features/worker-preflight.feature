Feature: A machine is checked before a worker is started on it

  @S23
  Scenario: A model of 5000 MB needs 6000 MB, and 8000 MB are enough
    Given a machine with 8000 MB of free memory and the backends "cpu"
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {}
      """
    And a made model "large.gguf" of 5000 MB
    When I post this task:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/large.gguf", "prompt": "Hello"}
      """
    Then the stream narrates "ram_check" before "backend_check"
    And the narration "ram_check" mentions "6000 MB"
    And the narration "ram_check" mentions "8000 MB"
    And the stream narrates "backend_check" before "worker_start"
    And the stream ends with "end"

  @S25
  Scenario: CUDA is there when it is asked for
    Given a machine with 8000 MB of free memory and the backends "cpu, cuda"
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {}
      """
    When I post this task:
      """
      {"node": "localhost", "backend": "cuda", "device": 1, "prompt": "Hello"}
      """
    Then the stream narrates "backend_check" before "worker_start"
    And the narration "backend_check" mentions "cuda"
    And the hive lists 1 worker with:
      """
      {"backend": "cuda", "device": 1, "state": "idle"}
      """
    And the stream ends with "end"

  @S26
  Scenario: Metal is asked for on a machine without it
    Given a machine with 8000 MB of free memory and the backends "cpu, cuda"
    And a queen and a hive run
    When I run `rbee-keeper infer --backend metal --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "metal"
    And stderr shows "cpu"
    And stderr shows "cuda"
    And the hive lists no worker
    When I post this task for JSON:
      """
      {"backend": "metal", "prompt": "hello"}
      """
    Then the answer is 503 with the code BACKEND_UNAVAILABLE
    And the answer's details have:
      """
      {"requested": "metal", "available": ["cpu", "cuda"]}
      """
