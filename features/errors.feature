Feature: A failure tells what happened, in a form that programs can rely on

  @S53 @L141
  Scenario: A failure for want of memory has its code, its message and its figures
    Given a machine with 16000 MB of free memory whose CUDA devices have "4000, 12000" MB free
    And a queen and a hive run
    And a made model "large.gguf" of 5000 MB
    When I post this task for JSON:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/large.gguf", "backend": "cuda", "device": 0, "prompt": "hello"}
      """
    Then the answer is 507 with the code VRAM_EXHAUSTED
    And the answer's details have:
      """
      {"required": 6000, "available": 4000}
      """
    And the answer's error has:
      """
      {
        "aliases": ["GPU_VRAM_EXHAUSTED", "INSUFFICIENT_RESOURCES"],
        "retryable": false,
        "details": {"model": "file://<home>/.local/share/rbee/models/large.gguf"}
      }
      """
    And the message of the answer's error shows "6000 MB"
    And the message of the answer's error shows "4000 MB"

  @L137 @L141 @L142
  Scenario: Each kind of failure has its status, its code and an id that the logs know
    Given a machine with 8000 MB of free memory and the backends "cpu"
    And a queen and a hive run
    And a made model "large.gguf" of 8000 MB
    When these requests are made:
      | to    | method | path                         | body                                                                                                                          | status | code                      |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "model": "honeycomb"}                                                                                     | 400    | INVALID_MODEL_REF         |
      | queen | POST   | /v2/tasks                    | {"prompt":                                                                                                                    | 400    | INVALID_REQUEST           |
      | queen | GET    | /v2/nowhere                  |                                                                                                                               | 404    | NOT_FOUND                 |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "node": "attic"}                                                                                          | 404    | NODE_NOT_FOUND            |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "model": "builtin:wasp"}                                                                                  | 404    | MODEL_NOT_FOUND           |
      | queen | PUT    | /v2/tasks                    |                                                                                                                               | 405    | METHOD_NOT_ALLOWED        |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "timeout_seconds": 0.001}                                                                                 | 408    | REQUEST_TIMEOUT           |
      | queen | POST   | /v2/workers/register         | {"worker_id": "w-1", "url": "http://a:1", "rbee_hive_url": "http://a:2", "node_name": "a", "model_ref": "hf:a/b", "backend": "cpu"} | 201 |                          |
      | queen | POST   | /v2/workers/register         | {"worker_id": "w-1", "url": "http://b:1", "rbee_hive_url": "http://b:2", "node_name": "b", "model_ref": "hf:a/b", "backend": "cpu"} | 409 | WORKER_ALREADY_REGISTERED |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "backend": "metal", "node": "localhost"}                                                                  | 503    | BACKEND_UNAVAILABLE       |
      | queen | POST   | /v2/tasks                    | {"prompt": "hello", "node": "localhost", "model": "file://<home>/.local/share/rbee/models/large.gguf"}                        | 507    | INSUFFICIENT_RAM          |
      | hive  | GET    | /v1/workers/worker-nobody    |                                                                                                                               | 404    | WORKER_NOT_FOUND          |
      | hive  | POST   | /v1/workers/list             |                                                                                                                               | 405    | METHOD_NOT_ALLOWED        |
    Then each of these errors has an id of its own, which the log of its service knows

  @L140
  Scenario: A hundred tasks at once, half of them bad
    Given a queen and a hive run
    When 100 tasks come at once, every second of them with a bad model
    Then the queen still runs
    And the hive still runs

  @L143
  Scenario: A failure of the service itself is logged with all its parts
    Given a hive runs whose workers follow this script:
      """
      {"failAtStart": "the wax has melted"}
      """
    When I post to the hive's /v1/workers/spawn:
      """
      {"model": "builtin:honeycomb", "backend": "cpu"}
      """
    Then the answer is 500
    And the hive logs the failure of the answer with all its parts
