Feature: The command line

  @S58
  Scenario: A full infer command line
    Given a queen and a hive run
    When I run `rbee-keeper infer --node localhost --model builtin:honeycomb --prompt "write a short story" --max-tokens 20 --temperature 0.7 --backend cpu --device 0`
    Then the exit code is 0
    And stdout is not empty
    And stderr shows "done: 20 tokens"
    And stdout ends with a line break

  @S59
  Scenario: workers list
    Given a node "attic" over SSH
    And a queen runs
    And an idle worker for "builtin:honeycomb" on attic
    And an idle worker for "builtin:honeycomb:q8_0" on localhost
    When I run `rbee-keeper workers list`
    Then the exit code is 0
    And stdout has exactly these rows of workers:
      | worker-\S+ | attic     | idle | builtin:honeycomb(:q4_k_m)? |
      | worker-\S+ | localhost | idle | builtin:honeycomb:q8_0      |

  @S60
  Scenario: workers health
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I run `rbee-keeper workers health --node localhost`
    Then the exit code is 0
    And stdout has exactly these rows of workers:
      | <noted worker> | idle | ready |
    When I run `rbee-keeper workers health --node attic`
    Then the exit code is 1
    And stderr shows "attic"

  @S61
  Scenario: workers shutdown
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I run `rbee-keeper workers shutdown --id <noted worker>`
    Then the exit code is 0
    And stdout shows "<noted worker>"
    And the worker's process is gone
    And the worker's process ended with the code 0
    And the log of each noted worker shows "shutting down (request)"
    And the log of each noted worker shows "freed the memory of the model"
    And the hive lists no worker
    When I run `rbee-keeper workers shutdown --id worker-nobody`
    Then the exit code is 1
    And stderr shows "worker-nobody"

  @S62
  Scenario: logs --follow
    Given a queen and a hive run
    When I start `rbee-keeper logs --node localhost --follow`
    And it has written to stdout
    And I post this task:
      """
      {"prompt": "Hello"}
      """
    Then stdout comes to show "worker_ready|model_loaded"
    When I press Ctrl+C
    Then the exit code is 0 or 130

  Scenario Outline: A mistake says what, why and what to do, and leaves nothing behind
    Given a file "text.gguf" in the models folder that says "this is no model"
    And the bundled model cut to 100000 bytes as "cut.gguf" in the models folder
    When I run `<command>`
    Then the exit code is <exit>
    And stdout is empty
    And stderr shows "<says>"
    And no process is left

    Examples: usage
      | command                                   | exit | says                 |
      | rbee-keeper infre --prompt hi             | 2    | infer                |
      | rbee-keeper infer --promt hi              | 2    | --prompt             |
      | rbee-keeper infer                         | 2    | --prompt             |
      | rbee-keeper infer --prompt hi --device x  | 2    | device               |
      | rbee-keeper workers shutdown              | 2    | --id                 |

    Examples: meaning
      | command                                                                                               | exit | says                 |
      | rbee-keeper infer --prompt hi --model honeycomb                                                       | 1    | hf:org/repo          |
      | rbee-keeper infer --prompt hi --backend abacus                                                        | 1    | cpu, cuda, metal     |
      | rbee-keeper infer --prompt hi --backend cuda                                                          | 1    | cuda                 |
      | rbee-keeper infer --prompt hi --device 7                                                              | 1    | 7                    |
      | rbee-keeper infer --prompt ""                                                                         | 1    | prompt               |
      | rbee-keeper infer --prompt hi --node attic                                                            | 1    | setup add-node       |
      | rbee-keeper infer --prompt-file <home>/missing.txt                                                    | 1    | missing.txt          |
      | rbee-keeper infer --prompt hi --model builtin:wasp                                                    | 1    | builtin:wasp         |
      | rbee-keeper infer --prompt hi --model hf:org/repo                                                     | 1    | hf:org/repo          |
      | rbee-keeper infer --prompt hi --model file://<home>/.local/share/rbee/models/missing.gguf             | 1    | missing.gguf         |
      | rbee-keeper infer --prompt hi --model file://<home>/.local/share/rbee/models/text.gguf                | 1    | GGUF                 |
      | rbee-keeper infer --prompt hi --model file://<home>/.local/share/rbee/models/cut.gguf                 | 1    | truncated\|incomplete |

  Scenario: A prompt longer than the context
    Given a prompt file "long.txt" of 3000 words
    When I run `rbee-keeper infer --prompt-file <home>/long.txt`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "1024"
    And no process is left

  Scenario: With a key in the configuration a task runs, and the hive has a key of its own
    Given a private file "key" that says "honey-jar-123"
    And a configuration file that says:
      """
      [auth]
      api_token_file = "<home>/key"
      """
    When I run `rbee-keeper infer --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And the hive's key is in a file of its own that only its owner can read
    And no process is left

  Scenario: A mistake in a setting of the hive is told before anything is started
    Given a configuration file that says:
      """
      [limits]
      max_workers = "many"
      """
    When I run `rbee-keeper infer --prompt hi`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "config.toml: limits.max_workers: expected a whole number of at least 1"
    And no process is left

  Scenario: A mistake in a variable that only the hive reads is told in its own words
    Given the variable RBEE_WORKER_PORT_START is "x"
    When I run `rbee-keeper infer --prompt hi`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "exit code 1): the configuration is not valid: environment: RBEE_WORKER_PORT_START: expected a port (1024 to 65535)"
    And no process is left

  Scenario: A port that is taken
    Given a queen and a hive run
    When I run `queen-rbee daemon`
    Then the exit code is 1
    And stderr shows "<queen port>"
    When I run `rbee-hive daemon`
    Then the exit code is 1
    And stderr shows "<hive port>"

  Scenario: A stranger on the queen's port
    Given another program answers on the queen's port
    When I run `rbee-keeper infer --prompt hi`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "<queen port>"

  Scenario: A home folder that may not be written to
    Given I am an unprivileged user whose home folder is read-only
    When I run `rbee-keeper infer --prompt hi`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "permission|EACCES|cannot create"
    And no process is left
