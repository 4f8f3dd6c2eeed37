Feature: A task outlives the connection of its client and the queen

  @L072
  Scenario: A killed queen goes on with an answer, and with what was queued
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When 2 clients follow this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    And the queen is killed when the first of them has 5 tokens
    And a queen runs
    Then each of them gets the greedy answer to "write a short story", and each event once
    And each of them came back
    And 2 tasks were taken over, each of which has ended

  Scenario: A queen that is killed again and again loses nothing
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    When 4 clients follow this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    And the queen is killed when the first of them has 3 tokens
    And a queen runs
    And the queen is killed when the first of them has 20 tokens
    And a queen runs
    And the queen is killed when the first of them has 40 tokens
    And a queen runs
    Then each of them gets the greedy answer to "write a short story", and each event once

  Scenario: A queen is killed while the model loads
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtLayer": 5, "words": ["one", " two", " three"]}
      """
    When 1 client follows this task:
      """
      {"prompt": "count"}
      """
    And the first of them is told of the load
    And the queen is killed
    And a queen runs
    And the workers go on
    Then each of them gets "one two three", and each event once
    And 1 tasks were taken over, each of which has ended

  Scenario: A queen is killed with 20 answers under way and 20 tasks queued
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 20 slots
    When 40 clients follow this task:
      """
      {"prompt": "write a short story", "temperature": 0, "max_tokens": 60}
      """
    And 20 of them answer and 20 are queued
    And the queen is killed
    And a queen runs
    Then 40 of them get the first 60 tokens of the greedy answer to "write a short story", and each event once

  Scenario: A task whose client does not come back is given up
    Given the time limit client_returns is 300ms
    And a queen and a hive run
    And a made model "endless.gguf" that never ends
    When 1 client follows this task:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0}
      """
    And the queen is killed when the first of them has 5 tokens
    And the first of them has 5 tokens and leaves
    And a queen runs
    Then the task of the first comes to be "cancelled"
    And the worker has all its slots free and is idle

  Scenario: A task that is to be kept goes on without its client
    Given a queen and a hive run
    When 1 client follows this task:
      """
      {"prompt": "write a short story", "temperature": 0, "on_disconnect": "keep"}
      """
    And the first of them has 2 tokens and leaves
    Then the task of the first comes to be "ended"

  Scenario: A task that is to be kept outlives a queen that is told to end
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtLayer": 5, "words": ["one", " two", " three"]}
      """
    When 1 client follows this task:
      """
      {"prompt": "count", "on_disconnect": "keep"}
      """
    And the first of them is told of the load
    And the queen gets SIGTERM
    And a queen runs
    And the workers go on
    Then each of them gets "one two three", and each event once

  @L082
  Scenario: A client that goes away ends its task, and the worker is free
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    When 1 client follows this task:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0}
      """
    And the first of them has 5 tokens and leaves
    Then the worker has all its slots free and is idle
    And the log of the worker shows "cancel"
    And the task of the first comes to be "cancelled"

  @L088
  Scenario: A slow client holds the worker back, and misses nothing
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"sameWord": {"count": 20000, "chars": 1000}}
      """
    When a client reads nothing of this task until it stands still:
      """
      {"prompt": "count"}
      """
    Then it had come to fewer than 20000 tokens
    And the client reads all 20000 tokens in order when it reads on
