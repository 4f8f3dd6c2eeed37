Feature: What comes in is checked before anything is done with it

  @L094 @L095 @L096
  Scenario: A mistake on the command line is explained
    Given a queen and a hive run
    When I run `rbee-keeper infer --prompt hello --model honeycomb`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "INVALID_MODEL_REF"
    And stderr shows "hf:org/repo, hf:org/repo:variant, file:///path/model.gguf"
    When I run `rbee-keeper infer --prompt hello --backend abacus`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "INVALID_BACKEND"
    And stderr shows "cpu, cuda, metal, vulkan"
    And stderr shows "--backend cpu"
    When I run `rbee-keeper infer --prompt hello --node localhost --backend cpu --device 7`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "INVALID_DEVICE"
    And stderr shows "device 7"
    And stderr shows "available: 0"
    And the hive lists no worker

  @L097 @L100 @L105 @L106 @L108
  Scenario: A model reference with something hostile in it gets no further
    Given a queen and a hive run
    And what stands in the databases is noted
    When these models are named to queen and hive in every way:
      | model                                                 | reason              |
      | "hf:zq7x/b\\n{\"level\":\"info\",\"msg\":\"forged\"}" | newline             |
      | "hf:zq7x/b\\r\\nforged"                               | newline             |
      | "hf:zq7x/\\u001b[2Jb"                                 | ansi_escape         |
      | "hf:zq7x/b\\u0000"                                    | null_byte           |
      | "hf:zq7x/b'; DROP TABLE beehives;--"                  | shell_metacharacters |
      | "hf:zq7x/<script>alert(1)</script>"                   | html                |
      | "hf:zq7x/$(touch pwned)"                              | shell_metacharacters |
      | "hf:zq7x/ü"                                           | non_ascii           |
      | "hf:zq7x/\\u202eb"                                    | non_ascii           |
      | "hf:zq7x"                                             | special_characters  |
      | "zq7x/b"                                              | special_characters  |
      | "hf:zq7x/../b"                                        | path_traversal      |
    Then each line of the logs of queen and hive is a whole entry
    And the databases hold what they held
    And no file of the scenario is named "pwned"
    And the hive lists no worker

  @L098
  Scenario: A model path that leads elsewhere is refused
    Given a queen and a hive run
    And the bundled model copied to "zq7x.gguf" in my home folder
    And a symbolic link "zq7x-link.gguf" in the models folder that leads to "<home>/zq7x.gguf"
    And a symbolic link "zq7x-folder" in the models folder that leads to "<home>"
    When these requests are made:
      | to    | method | path              | body                                                                                                             | status | code         | reason         |
      | queen | POST   | /v2/tasks         | {"prompt": "hello", "model": "file://<home>/.local/share/rbee/models/../../../../zq7x.gguf"}                      | 400    | INVALID_PATH | path_traversal |
      | queen | POST   | /v2/tasks         | {"prompt": "hello", "model": "file://<home>/zq7x.gguf"}                                                          | 400    | INVALID_PATH | absolute_path  |
      | queen | POST   | /v2/tasks         | {"prompt": "hello", "model": "file:///etc/zq7x"}                                                                 | 400    | INVALID_PATH | absolute_path  |
      | queen | POST   | /v2/tasks         | {"prompt": "hello", "model": "file://<home>/.local/share/rbee/models/zq7x-link.gguf"}                            | 400    | INVALID_PATH | symlink        |
      | queen | POST   | /v2/tasks         | {"prompt": "hello", "model": "file://<home>/.local/share/rbee/models/zq7x-folder/zq7x.gguf"}                     | 400    | INVALID_PATH | symlink        |
      | hive  | POST   | /v1/workers/spawn | {"backend": "cpu", "model": "file://<home>/.local/share/rbee/models/../../../../zq7x.gguf"}                       | 400    | INVALID_PATH | path_traversal |
      | hive  | POST   | /v1/workers/spawn | {"backend": "cpu", "model": "file://<home>/zq7x.gguf"}                                                           | 400    | INVALID_PATH | absolute_path  |
      | hive  | POST   | /v1/workers/spawn | {"backend": "cpu", "model": "file://<home>/.local/share/rbee/models/zq7x-link.gguf"}                             | 400    | INVALID_PATH | symlink        |
    Then none of these answers shows a stack or a folder of this machine
    And the hive lists no worker

  @L099 @L101 @L111
  Scenario: A worker's id is letters, digits and dashes, and nothing else is ever looked for
    Given a queen and a hive run
    When workers are meant by these ids in every way:
      | id                   | reason               |
      | zq7x;touch pwned     | shell_metacharacters |
      | zq7x`touch pwned`    | shell_metacharacters |
      | zq7x\|touch pwned    | shell_metacharacters |
      | zq7x$(touch pwned)   | shell_metacharacters |
      | zq7x&&touch pwned    | shell_metacharacters |
      | zq7x_1               | special_characters   |
      | zq7x<64 letters>     | too_long             |
      | ../zq7x              | path_traversal       |
      | zq7xé                | non_ascii            |
    And these requests are made:
      | to   | path                                                                        | status | code             |
      | hive | /v1/workers/worker-1                                                        | 404    | WORKER_NOT_FOUND |
      | hive | /v1/workers/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | 404    | WORKER_NOT_FOUND |
    Then no file of the scenario is named "pwned"
    And each line of the logs of queen and hive is a whole entry

  @L100 @L102 @L104 @L111
  Scenario: What queen, hive and worker take, and what they don't
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When these requests are made:
      | to     | method | path                             | body                                                                   | status | code              | reason               |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "backend": "zq7x"}                                 | 400    | INVALID_BACKEND   | unknown_backend      |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "backend": "CPU"}                                  | 400    | INVALID_BACKEND   | unknown_backend      |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "device": -1}                                      | 400    | INVALID_DEVICE    | not_a_device_index   |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "device": 0.5}                                     | 400    | INVALID_DEVICE    | not_a_device_index   |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "device": "0"}                                     | 400    | INVALID_REQUEST   |                      |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "zq7x@hive"}                               | 400    | INVALID_NODE_NAME | special_characters   |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "-zq7x"}                                   | 400    | INVALID_NODE_NAME | special_characters   |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "zq7x..hive"}                              | 400    | INVALID_NODE_NAME | special_characters   |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "zq7x\\nforged"}                           | 400    | INVALID_NODE_NAME | newline              |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "zq7;reboot"}                              | 400    | INVALID_NODE_NAME | shell_metacharacters |
      | queen  | POST   | /v2/tasks                        | {"prompt": "hello", "node": "attic.example-1.lan"}                     | 404    | NODE_NOT_FOUND    |                      |
      | queen  | GET    | /v2/workers/list?node=zq7x%40x   |                                                                        | 400    | INVALID_NODE_NAME | special_characters   |
      | queen  | POST   | /v2/registry/beehives/remove     | {"node_name": "zq7x@hive"}                                             | 400    | INVALID_NODE_NAME | special_characters   |
      | hive   | POST   | /v1/workers/spawn                | {"model": "builtin:honeycomb", "backend": "zq7x"}                      | 400    | INVALID_BACKEND   | unknown_backend      |
      | hive   | POST   | /v1/workers/spawn                | {"model": "builtin:honeycomb", "backend": "cpu", "device": -1}         | 400    | INVALID_DEVICE    | not_a_device_index   |
      | hive   | POST   | /v1/workers/spawn                | {"model": "builtin:honeycomb", "backend": "cpu", "device": 7}          | 400    | INVALID_DEVICE    |                      |
      | hive   | POST   | /v1/workers/spawn                | {"model": "builtin:honeycomb", "backend": "cpu", "slots_total": 0}     | 400    | INVALID_REQUEST   |                      |
      | worker | POST   | /v1/inference                    | {"prompt": ""}                                                         | 400    | INVALID_REQUEST   |                      |
      | worker | POST   | /v1/inference                    | {"prompt": "zq7x\\u0000"}                                              | 400    | INVALID_REQUEST   |                      |
      | worker | POST   | /v1/inference                    | {"prompt": "hello", "temperature": -1}                                 | 400    | INVALID_REQUEST   |                      |
      | worker | POST   | /v1/inference                    | {"prompt": "hello", "job_id": "zq7x;reboot"}                           | 400    | INVALID_REQUEST   | shell_metacharacters |
      | worker | DELETE | /v1/inference/zq7x%0aforged      |                                                                        | 400    | INVALID_REQUEST   | newline              |
      | worker | POST   | /v1/inference                    | {"prompt": "zq7x                                                       | 400    | INVALID_REQUEST   |                      |
      | worker | POST   | /v1/inference                    | {"prompt": "hello", "max_tokens": 1, "stream": false}                  | 200    |                   |                      |

  @L100
  Scenario: A well-formed reference to the hub is looked up there
    Given a hub without models
    And a queen and a hive run
    When these requests are made:
      | to    | method | path      | body                                                     | status | code            |
      | queen | POST   | /v2/tasks | {"prompt": "hello", "model": "hf:org/repo"}              | 404    | MODEL_NOT_FOUND |
      | queen | POST   | /v2/tasks | {"prompt": "hello", "model": "hf:My_Org-1/re.po_2:Q4_K"} | 404    | MODEL_NOT_FOUND |

  @L103
  Scenario Outline: A port that nobody may or can listen on
    When I run `<command>`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "1024 to 65535"
    And no process is left

    Examples:
      | command                      |
      | queen-rbee daemon --port 80  |
      | rbee-hive daemon --port 70000 |
      | llm-worker-rbee --port 1023  |

  @L107
  Scenario: A thousand random inputs
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    And what stands in the databases is noted
    When 1000 random inputs come to queen, hive and worker
    Then the queen still runs
    And the hive still runs
    And each line of the logs of queen and hive is a whole entry
    And the databases hold what they held
    And the hive lists 1 worker with:
      """
      {"state": "idle", "slots_available": 1}
      """

  @L109
  Scenario: A body that is too large
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When bodies of 10 MB are sent to queen, hive and worker
    Then the details of each answer's error have:
      """
      {"limit_bytes": 1048576}
      """
    And the queen still runs
    And the hive still runs

  @L110
  Scenario: Whoever sends many bad requests is slowed down, and nobody else
    Given a queen runs
    When one client sends the queen 100 bad requests at once
    Then 50 of them are answered 400 and the others 429 with the code TOO_MANY_REQUESTS and when to come back
