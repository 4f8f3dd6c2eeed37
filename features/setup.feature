Feature: Setting up nodes

  @S06
  Scenario: A node that nobody added is named, with the command that adds it
    Given a queen runs
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attic"
    And stderr shows "rbee-keeper setup add-node"
    When I post this task for JSON:
      """
      {"node": "attic", "prompt": "hello"}
      """
    Then the answer is 404 with the code NODE_NOT_FOUND
    And no hive is running
