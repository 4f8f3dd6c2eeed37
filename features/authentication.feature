Feature: Nobody without a key gets anything done

  @S44 @L113
  Scenario: A wrong key is refused, and the user is told by whom and where to look
    Given the queen has the key "honey-jar-123"
    And a queen runs
    And a key file "old.key" of mode 0600 that says "wasp-nest-456"
    And a configuration file "other.toml" that says:
      """
      [auth]
      api_token_file = "<home>/old.key"
      """
    When I run `rbee-keeper infer --config <home>/other.toml --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "INVALID_API_KEY"
    And stderr shows "queen-rbee rejected the key"
    And stderr shows "127.0.0.1:<queen port>"
    And stderr shows "<home>/other.toml"
    And the log of the queen has a line with:
      """
      {"level": "warn", "reason": "invalid_token", "identity": "<fingerprint of "wasp-nest-456">"}
      """
    And "wasp-nest-456" stands in no log, no output and no process list
    And these requests are made:
      | to    | path      | status | code |
      | queen | /v2/tasks | 200    |      |

  @L112
  Scenario: Whoever shows no key is told that one is needed, and by which configuration none is sent
    Given the queen has the key "honey-jar-123"
    And a queen runs
    And a configuration file "keyless.toml" that says:
      """
      [queen]
      keep_alive = "1m"
      """
    When I run `rbee-keeper infer --config <home>/keyless.toml --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "MISSING_API_KEY"
    And stderr shows "127.0.0.1:<queen port>"
    And stderr shows "<home>/keyless.toml"
    And the log of the queen has a line with:
      """
      {"level": "warn", "reason": "missing_header"}
      """

  @L112 @L113 @L118 @L121 @L138
  Scenario: Each wrong way to show a key has its own reason, and the answer no part of any key
    Given the queen has the key "honey-jar-123"
    And a queen runs
    When these Authorization headers are sent to the queen:
      | header                     | code            | reason         |
      | (none)                     | MISSING_API_KEY | missing_header |
      | Bearer                     | MISSING_API_KEY | empty_token    |
      | Bearer~                    | MISSING_API_KEY | empty_token    |
      | bearer <key>               | MISSING_API_KEY | invalid_format |
      | BEARER <key>               | MISSING_API_KEY | invalid_format |
      | Bearer~~<key>              | MISSING_API_KEY | invalid_format |
      | Bearer<key>                | MISSING_API_KEY | invalid_format |
      | Basic <key>                | MISSING_API_KEY | invalid_format |
      | <key>                      | MISSING_API_KEY | invalid_format |
      | Bearer wasp-nest-456       | INVALID_API_KEY | invalid_token  |
      | Bearer <key>x              | INVALID_API_KEY | invalid_token  |
      | Bearer honey-jar-12        | INVALID_API_KEY | invalid_token  |
      | Bearer HONEY-JAR-123       | INVALID_API_KEY | invalid_token  |
      | Bearer <key> <key>         | INVALID_API_KEY | invalid_token  |
    And these requests are made:
      | to    | path      | status | code |
      | queen | /v2/tasks | 200    |      |
    Then the log of the queen has a line with:
      """
      {"level": "warn", "reason": "empty_token"}
      """
    And the log of the queen has a line with:
      """
      {"level": "warn", "reason": "invalid_format"}
      """
    And the log of the queen has a line with:
      """
      {"level": "warn", "reason": "invalid_token", "identity": "<fingerprint of "wasp-nest-456">"}
      """
    And the log of the queen has a line with:
      """
      {"level": "info", "msg": "authenticated", "identity": "<fingerprint of the queen>"}
      """
    And no key is anywhere but in its file

  @L114 @L135
  Scenario Outline: A key may be of any characters that can be printed
    Given the queen has the key:
      """
      <key>
      """
    And a queen runs
    When I run `rbee-keeper workers list`
    Then the exit code is 0
    And the queen wants a key of its callers
    And no key is anywhere but in its file

    Examples:
      | key                                              |
      | "honey": jar #1 & 'pot' + 50% = <all> {}[]~^`$!? |
      | Hönig-Glas № 1, 蜂蜜 und 🐝                      |

  @L116
  Scenario: On this machine alone no key is needed, and each daemon says so
    Given a queen and a hive run
    And a worker runs by itself
    Then the terminal of queen says that authentication is off
    And the terminal of hive says that authentication is off
    And the terminal of worker says that authentication is off
    And these requests are made:
      | to     | path             | status | code |
      | queen  | /v2/tasks        | 200    |      |
      | hive   | /v1/workers/list | 200    |      |
      | worker | /v1/ready        | 200    |      |

  @L117
  Scenario Outline: No daemon can be reached from elsewhere without a key
    When I run `<command>`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "key"
    And stderr shows "0.0.0.0"
    And no process is left

    Examples:
      | command                                                   |
      | queen-rbee daemon --host 0.0.0.0                          |
      | rbee-hive daemon --host 0.0.0.0                           |
      | llm-worker-rbee --host 0.0.0.0 --port <first worker port> |

  @L119 @L120
  Scenario: Every route of the three services is closed
    Given the queen has the key "honey-jar-123"
    And the hive has the key "royal-jelly-789"
    And a queen and a hive run
    And a worker of the hive that has its own key
    When all routes of the three services are tried without a key, with a wrong one and with the ones of the others
    And paths that no table has are tried, without a key and with the right one
    Then health of the three services is open to everybody, for reading only
    And a worker speaks for itself alone, and a stranger for none
    And no key is anywhere but in its file

  @L122
  Scenario: Right and wrong keys at the same time
    Given the queen has the key "honey-jar-123"
    And a queen runs
    Then 50 requests with the right key and 50 with a wrong one come to the queen at once

  @L119 @L123 @L134
  Scenario: Three services, three keys
    Given the queen has the key "honey-jar-123"
    And the hive has the key "royal-jelly-789"
    And a queen and a hive run
    And a worker of the hive that has its own key
    When I run `rbee-keeper infer --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And the log of the queen has a line with:
      """
      {"msg": "authenticated", "identity": "<fingerprint of the queen>"}
      """
    And the log of the hive has a line with:
      """
      {"msg": "authenticated", "identity": "<fingerprint of the hive>"}
      """
    And the log of the worker has a line with:
      """
      {"msg": "authenticated", "identity": "<fingerprint of the worker>"}
      """
    And the log of the queen names the key of the hive
    And the log of the hive never names the key of the queen
    And the log of the worker never names the key of the queen
    And the log of the worker never names the key of the hive
    And the queen does not take the key of the hive
    And the queen does not take the key of the worker
    And the hive does not take the key of the queen
    And the hive does not take the key of the worker
    And the worker does not take the key of the queen
    And the worker does not take the key of the hive
    And no key is anywhere but in its file

  @L119
  Scenario: A hive that a queen starts has a key of its own, which the queen makes
    Given a queen runs
    When I run `rbee-keeper infer --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And the hive's key is in a file of its own that only its owner can read
    And the hive wants a key of its callers

  Scenario: A hive that was installed for itself and the queen that finds it agree on its key
    Given a hive runs as it was installed, with a key that its queen was not told of
    And a queen runs
    Then the hive wants a key of its callers
    When I run `rbee-keeper infer --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story

  Scenario: Who only listens on the port of the queen does not learn its key
    Given the queen has the key "honey-jar-123"
    And a stranger listens on the port of the queen
    When I run `rbee-keeper infer --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And the stranger was asked, and was shown no key

  @L126
  Scenario: A key from a file that only its owner can read
    Given the queen has the key "honey-jar-123"
    And the hive has the key "royal-jelly-789"
    And a queen and a hive run
    Then the log of the queen has a line with:
      """
      {"level": "info", "source": "file", "identity": "<fingerprint of the queen>"}
      """
    And the log of the hive has a line with:
      """
      {"level": "info", "source": "file", "identity": "<fingerprint of the hive>"}
      """
    And no key is anywhere but in its file

  @L128
  Scenario: A key from the service manager
    Given the service manager gives the queen the key "honey-jar-123"
    And a queen runs
    Then the queen wants a key of its callers
    And the log of the queen has a line with:
      """
      {"level": "info", "source": "credential", "identity": "<fingerprint of the queen>"}
      """
    And "honey-jar-123" stands in no log, no output and no process list

  @L127 @L131 @L132 @L136
  Scenario: What is no proper key file is refused at the start, with its path and the reason
    Given a configuration file that says:
      """
      [auth]
      api_token_file = "<home>/case-0.key"
      hive_token_file = "<home>/case-1.key"
      """
    When these programs are run with such key files:
      | key file              | command                                                                    | says                   |
      | readable by all       | queen-rbee daemon                                                          | 0644 and 0600          |
      | two lines             | rbee-hive daemon                                                           | more than one line     |
      | readable by its group | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | 0640 and 0600          |
      | missing               | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | ENOENT                 |
      | a folder              | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | file                   |
      | a pipe                | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | file                   |
      | empty                 | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | is empty               |
      | blank                 | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | is empty               |
      | two lines             | llm-worker-rbee --port <first worker port> --api-key-file <key file>       | more than one line     |
    Then no process is left

  @L132
  Scenario: A hundred requests leave no key in any log
    Given the queen has the key "honey-jar-123"
    And a queen runs
    When 50 requests with the right key and 50 with a wrong one come to the queen at once
    And I run `rbee-keeper workers list`
    Then the exit code is 0
    And no key is anywhere but in its file
    And "wasp-nest-" stands in no log, no output and no process list

  @L133
  Scenario: A new key comes into force without a restart, and a bad key file changes nothing
    Given the queen has the key "honey-jar-123"
    And the hive has the key "royal-jelly-789"
    And a queen and a hive run
    When the queen is given the new key "honey-pot-321"
    And the hive is given the new key "royal-crown-987"
    And I run `rbee-keeper infer --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    When the key file of the queen comes to say "one\ntwo" in mode 0600
    Then the queen says so as an error and goes on with its key
    When the key file of the hive comes to say "wax-candle-555" in mode 0644
    Then the hive says so as an error and goes on with its key
    And "wax-candle-555" stands in no log, no output and no process list
    And no key is anywhere but in its file

  Scenario: Who only listens on the port of the hive does not learn its key
    Given the hive has the key "royal-jelly-789"
    And a stranger listens on the port of the hive
    When I run `rbee-keeper infer --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And the stranger was asked, and was shown no key
