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

  @S24
  Scenario: A model of 5000 MB does not fit into 4000 MB
    Given a machine with 4000 MB of free memory and the backends "cpu"
    And a queen and a hive run
    And a made model "large.gguf" of 5000 MB
    When I run `rbee-keeper infer --model file:<home>/.local/share/rbee/models/large.gguf --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "6000 MB"
    And stderr shows "4000 MB"
    And stderr shows "smaller quantization"
    And the hive lists no worker
    When I post this task for JSON:
      """
      {"model": "file://<home>/.local/share/rbee/models/large.gguf", "prompt": "hello"}
      """
    Then the answer is 507 with the code INSUFFICIENT_RAM
    And the answer's error has:
      """
      {"aliases": ["VRAM_EXHAUSTED", "INSUFFICIENT_RESOURCES"], "details": {"required": 6000, "available": 4000}}
      """

  @S38 @L033
  Scenario Outline: A model that does not fit on the device that was asked for goes nowhere else
    Given a machine with 16000 MB of free memory whose CUDA devices have "<free>" MB free
    And a queen and a hive run
    And a made model "large.gguf" of <size> MB
    When I run `rbee-keeper infer --model file:<home>/.local/share/rbee/models/large.gguf --backend cuda --device 0 --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "cuda:0"
    And stderr shows "localhost"
    And stderr shows "<needed> MB"
    And stderr shows "<free there> MB"
    And stderr shows "smaller quantization"
    And stderr shows "--backend cpu"
    And the hive lists no worker

    Examples:
      | size | needed | free        | free there |
      | 5000 | 6000   | 4000, 12000 | 4000       |
      | 3333 | 4000   | 2000        | 2000       |

  @L034
  Scenario: CUDA is asked for on a machine without its driver
    Given a machine with 8000 MB of free memory and the backends "cpu"
    And a queen and a hive run
    When I run `rbee-keeper infer --backend cuda --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "driver"
    And stderr shows "--backend cpu"
    And the hive lists no worker
    When I post this task for JSON:
      """
      {"backend": "cuda", "prompt": "hello"}
      """
    Then the answer is 503 with the code GPU_NOT_AVAILABLE
    And the answer's details have:
      """
      {"requested": "cuda", "available": ["cpu"]}
      """

  @L035
  Scenario: The CUDA device with the most free memory is taken when none is named
    Given a machine with 16000 MB of free memory whose CUDA devices have "5000, 11000, 9000" MB free
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {}
      """
    When I post this task:
      """
      {"node": "localhost", "backend": "cuda", "prompt": "Hello"}
      """
    Then the stream ends with "end"
    And the narration "backend_check" mentions "device 1"
    And the hive lists 1 worker with:
      """
      {"backend": "cuda", "device": 1}
      """
